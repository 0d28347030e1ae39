"""The tree downwards: an artifact, and as branches the executions that read it, with what they wrote."""

from collections.abc import Sequence

from beam_jobs.errors import listed
from pipeline.lineage.outline import Branch, Line
from pipeline.lineage.records import Execution
from pipeline.lineage.tree_parts import Drawing
from pipeline.lineage.tree_words import artifact_details, counted, execution_line, failure_lines, title
from pipeline.lineage.wording import is_final, name_of, printable, table_words

_MOST_REUSES = 3  # executions of one step that reused the same, one by one
_MOST_RUNS = 5  # named where there are more of them


def draw(drawing: Drawing) -> None:
    """Draws the start that was made from nothing else of it, and everything after it."""
    lineage = drawing.graph.lineage
    tops = [id_ for id_ in lineage.start if id_ not in drawing.graph.makers]
    for id_ in tops or lineage.start:
        artifact = lineage.artifacts[id_]
        branch = Branch([title(artifact, lineage), *artifact_details(artifact)])
        drawing.artifacts[id_] = branch
        drawing.roots.append(branch)
        drawing.waiting.append((branch, (id_,)))
        if id_ not in drawing.graph.readers:
            branch.lines.append((("nothing on record was made from it", "yellow"),))
    drawing.roots += [_fruitless(drawing, lineage.executions[id_]) for id_ in lineage.starting]
    while drawing.waiting:
        _readers(drawing, *drawing.waiting.popleft())


def _fruitless(drawing: Drawing, execution: Execution) -> Branch:
    branch = _reader(drawing, execution, ())
    branch.lines.append((("it wrote nothing that is on record, so nothing was made from it", "yellow"),))
    return branch


def _readers(drawing: Drawing, branch: Branch, artifacts: tuple[int, ...]) -> None:
    """Hangs on a branch the executions that read any of its artifacts; those that reused come last."""
    executions = drawing.graph.lineage.executions
    reading = {event.execution for artifact in artifacts for event in drawing.graph.readers.get(artifact, ())}
    near = [executions[id_] for id_ in reading & drawing.near]
    reuses: dict[str, list[Execution]] = {}
    for execution in sorted(near, key=lambda execution: (execution.is_cached, execution.id)):
        if execution.id in drawing.executions:
            branch.children.append(_reference(drawing, execution))
        elif execution.is_cached and not _new_outputs(drawing, execution):
            reuses.setdefault(execution.step, []).append(execution)
        else:
            branch.children.append(_reader(drawing, execution, artifacts))
    for step, reused in reuses.items():
        few = len(reused) <= _MOST_REUSES
        branch.children += [_reader(drawing, e, artifacts) for e in reused] if few else [_group(drawing, step, reused)]
    if len(reading) > len(near):
        branch.children.append(Branch([((f"... {counted(len(reading) - len(near), 'step')} read it", "dim"),)]))


def _reference(drawing: Drawing, execution: Execution) -> Branch:
    branch = Branch([])
    drawing.refer(branch, ((printable(name_of(execution)), "cyan"),), drawing.executions[execution.id])
    return branch


def _new_outputs(drawing: Drawing, execution: Execution) -> list[int]:
    events = drawing.graph.outputs.get(execution.id, ())
    return [event.artifact for event in events if event.artifact not in drawing.artifacts]


def _reader(drawing: Drawing, execution: Execution, artifacts: Sequence[int]) -> Branch:
    new = _new_outputs(drawing, execution)
    branch = Branch([execution_line(execution), *failure_lines(execution)])
    drawing.executions[execution.id] = branch
    if len(artifacts) > 1:
        branch.lines.append(_inputs(drawing, execution, artifacts))
    for event in drawing.graph.outputs.get(execution.id, ()):
        artifact = drawing.graph.lineage.artifacts[event.artifact]
        known = event.artifact in drawing.artifacts
        line = (("→ ", "dim"), *title(artifact, drawing.graph.lineage, event.key, brief=known))
        if known:
            drawing.refer(branch, line, drawing.artifacts[event.artifact])
            continue
        drawing.artifacts[event.artifact] = branch
        branch.lines += [line, *_output_details(drawing, event.artifact)]
    if new:
        drawing.waiting.append((branch, tuple(dict.fromkeys(new))))
    return branch


def _inputs(drawing: Drawing, execution: Execution, artifacts: Sequence[int]) -> Line:
    found = drawing.graph.lineage.artifacts
    events = [event for event in drawing.graph.inputs[execution.id] if event.artifact in artifacts]
    words = listed(f"{event.key} {found[event.artifact].type} {event.artifact}" for event in events)
    return ((f"reads {printable(words)}", "dim"),)


def _output_details(drawing: Drawing, id_: int) -> list[Line]:
    artifact = drawing.graph.lineage.artifacts[id_]
    if is_final(artifact):
        return [((f"  {text}", style),) for ((text, style),) in artifact_details(artifact)]
    counts = table_words(artifact)
    return [((f"  {printable(counts)}", ""),)] if counts else []


def _group(drawing: Drawing, step: str, reused: list[Execution]) -> Branch:
    """One branch for many executions that wrote nothing new."""
    runs = listed((execution.run for execution in reversed(reused)), _MOST_RUNS)
    branch = Branch(
        [
            (
                ("= ", "cyan"),
                (f"{len(reused):,} times {printable(step)} took its outputs from the cache: {printable(runs)}", ""),
            )
        ]
    )
    drawing.executions.update((execution.id, branch) for execution in reused)
    return branch
