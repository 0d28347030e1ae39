"""The tree upwards: an artifact, who made it, and its inputs as branches, down to the source files."""

from pipeline.lineage.outline import Branch
from pipeline.lineage.records import Execution
from pipeline.lineage.tree_parts import Drawing
from pipeline.lineage.tree_words import artifact_details, execution_details, execution_line, source_branches, title
from pipeline.lineage.wording import name_of, printable


def draw(drawing: Drawing) -> None:
    """Draws the start that nothing else of it was made from, and everything behind it."""
    lineage = drawing.graph.lineage
    tops = [id_ for id_ in lineage.start if id_ not in drawing.graph.readers]
    for id_ in tops or lineage.start:
        drawing.roots.append(_artifact(drawing, id_, ""))
    for id_ in lineage.starting:
        execution = lineage.executions[id_]
        branch = Branch([execution_line(execution), *execution_details(execution)])
        drawing.roots.append(branch)
        drawing.executions[id_] = branch
        _inputs(drawing, branch, id_)
    while drawing.waiting:
        branch, (artifact,) = drawing.waiting.popleft()
        _makers(drawing, branch, artifact)


def _artifact(drawing: Drawing, id_: int, key: str) -> Branch:
    artifact = drawing.graph.lineage.artifacts[id_]
    if id_ in drawing.artifacts:
        branch = Branch([])
        drawing.refer(branch, title(artifact, drawing.graph.lineage, key, brief=True), drawing.artifacts[id_])
        return branch
    branch = Branch([title(artifact, drawing.graph.lineage, key), *artifact_details(artifact)])
    drawing.artifacts[id_] = branch
    drawing.waiting.append((branch, (id_,)))
    return branch


def _makers(drawing: Drawing, branch: Branch, artifact: int) -> None:
    makers = [drawing.graph.lineage.executions[e.execution] for e in drawing.graph.makers.get(artifact, ())]
    if not makers:
        branch.lines.append((("nothing on record made it", "yellow"),))
    for maker in makers:
        place = branch if len(makers) == 1 else Branch([])
        if place is not branch:
            branch.children.append(place)
        _maker(drawing, place, maker)
    branch.children += source_branches(drawing.sources.get(artifact, []))


def _maker(drawing: Drawing, branch: Branch, maker: Execution) -> None:
    if maker.id in drawing.executions:
        line = (("made by ", ""), (printable(name_of(maker)), "cyan"))
        drawing.refer(branch, line, drawing.executions[maker.id])
        return
    if maker.id not in drawing.near:
        branch.lines.append(((f"... made by {printable(name_of(maker))}", "dim"),))
        return
    drawing.executions[maker.id] = branch
    branch.lines += [execution_line(maker, "made by "), *execution_details(maker)]
    _inputs(drawing, branch, maker.id)


def _inputs(drawing: Drawing, branch: Branch, execution: int) -> None:
    for event in drawing.graph.inputs.get(execution, ()):
        branch.children.append(_artifact(drawing, event.artifact, event.key))
