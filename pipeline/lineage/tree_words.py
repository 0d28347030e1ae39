"""The lines of the tree: an artifact, an execution, a source file, each as text with styles."""

from collections.abc import Sequence

from pipeline.lineage.ancestry import Lineage
from pipeline.lineage.facts import Source, failure_of
from pipeline.lineage.outline import NBSP, Branch, Line, Span
from pipeline.lineage.records import Artifact, Execution
from pipeline.lineage.wording import (
    code_words,
    failure_words,
    is_final,
    name_of,
    parameters_words,
    place_words,
    printable,
    seconds_words,
    source_words,
    state_of,
    table_words,
)

_MARKS = {
    "COMPLETE": ("✓", "green"),
    "CACHED": ("=", "cyan"),
    "FAILED": ("✗", "bold red"),
    "CANCELED": ("✗", "yellow"),
    "RUNNING": ("…", "yellow"),
}
_MOST_SOURCES = 12  # of one table


def title(artifact: Artifact, lineage: Lineage, key: str = "", brief: bool = False) -> Line:
    """`model: Model 12  serving now from /models/3`; the brief one does not say from where."""
    spans: list[Span] = [(f"{printable(key)}: ", "")] if key else []
    spans.append((f"{printable(artifact.type)} {artifact.id}", "bold magenta" if is_final(artifact) else "bold"))
    if artifact.id in lineage.serving:
        spans += [("  ", ""), (f"serving{NBSP}now", "bold green reverse")]
        spans += [] if brief else [(f" from {printable(lineage.serving[artifact.id])}", "green")]
    if artifact.state not in ("LIVE", "UNKNOWN"):
        spans.append((f"  {artifact.state.lower().replace('_', ' ')}", "bold red"))
    return tuple(spans)


def artifact_details(artifact: Artifact) -> list[Line]:
    """Where it is, and the ledger of a table."""
    place, counts = printable(artifact.uri) or "(no URI recorded)", table_words(artifact)
    return [((place, "dim"),), *([((printable(counts), ""),)] if counts else [])]


def execution_line(execution: Execution, before: str = "") -> Line:
    """`by RUN/step ✓ complete, 1.9 s, on dataflow, job ID, code fd2c080, lock 05e9e0a`; the place where it was another."""
    mark, style = _MARKS.get(execution.state, ("?", "yellow"))
    words = (state_of(execution), seconds_words(execution), place_words(execution), code_words(execution))
    told = ", ".join(filter(None, words))
    told = printable(told).replace(" ", NBSP).replace(f",{NBSP}", ", ")
    return ((before, ""), (printable(name_of(execution)), "cyan"), (f" {mark}{NBSP}", style), (told, ""))


def execution_details(execution: Execution) -> list[Line]:
    """Its parameters in short, and the error of one that failed."""
    parameters = parameters_words(execution.parameters)
    return [*failure_lines(execution), *([((parameters, "dim"),)] if parameters else [])]


def failure_lines(execution: Execution) -> list[Line]:
    """The error of one that failed, and where its traceback is kept."""
    words, failure = failure_words(execution), failure_of(execution)
    kept = [((f"traceback in {printable(failure.traceback)}", "dim"),)] if failure and failure.traceback else []
    return [((printable(words), "red"),), *kept] if words else []


def source_branches(sources: Sequence[Source]) -> list[Branch]:
    """A branch a file, the first dozen of them."""
    shown = [
        Branch([(("file ", ""), (printable(source.path), "bold")), ((printable(source_words(source)), "dim"),)])
        for source in sources[:_MOST_SOURCES]
    ]
    more = len(sources) - len(shown)
    return [*shown, *([Branch([((f"... {more:,} more files; --json lists them", "dim"),)])] if more > 0 else [])]


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
