"""`braid lineage why`."""

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from beam_jobs.errors import listed
from pipeline.cli import options
from pipeline.cli.questions import opened
from pipeline.cli.questions.diff import show_lines, words_of_both

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from pipeline.lineage.execution_parts import InputArtifact, Reason
    from pipeline.lineage.reasons import Reasons

_MOST_NAMES = 8
_RAN = {"FAILED": "ran and failed", "CANCELED": "ran and was cut off", "RUNNING": "is running", "NEW": "is to run"}


@click.command("why")
@click.argument("step", metavar="RUN/STEP")
@options.workspace
@options.store
@options.as_json
def command(step: str, workspace: str, store: str, as_json: bool) -> None:
    """Tell why a step ran again, or came from the cache: which part of what it depends on differs.

    RUN/STEP may be a RUN, for all of its steps, or an artifact, for the step that made it. Of one step, the reasons of
    the steps that made its new inputs follow, back to the first causes.
    """
    from pipeline import terminal
    from pipeline.lineage import reasons

    archive = opened.archive(workspace, store)
    found = reasons.why(archive, step)
    if len(found) == 1:
        found = reasons.chain(archive, found[0].execution)
    if as_json:
        options.print_json([one.to_dict() for one in found])
        return
    console = terminal.console()
    for one in found:
        show(console, one)


def show(console: "Console", found: "Reasons") -> None:
    """What became of a step and, under it, each reason."""
    execution, earlier = found.execution, found.earlier
    place = f"[bold]{escape(execution.run)}/{escape(execution.step)}[/]"
    against = f"{escape(earlier.run)}/{escape(earlier.step)}" if earlier else ""
    if found.reused:
        console.print(f"{place} came from the cache" + (f": it reuses what {against} wrote." if earlier else "."))
    else:
        ran = f"{place} {_RAN.get(execution.state, 'ran')}"
        which = "the last to end well" if found.is_last else "the one most like it"
        console.print(f"{ran} again; {which} was {against}." if earlier else f"{ran}.")
    decided = [reason for reason in found.reasons if reason.decides]
    _reasons(console, decided)
    others = [reason for reason in found.reasons if not reason.decides]
    if others:
        console.print("  What differs too, but decides nothing:")
        _reasons(console, others)


def _reasons(console: "Console", reasons: "Iterable[Reason]") -> None:
    every = list(reasons)
    code = [reason for reason in every if _is_definition(reason)]
    for words in _code_words(code):
        console.print(f"  {escape(words)}", soft_wrap=True)
    for reason in every:
        if reason in code:
            continue
        console.print(f"  {escape(_words(reason))}", soft_wrap=True)
        if "\n" in reason.note:
            show_lines(console, reason.note)


def _is_definition(reason: "Reason") -> bool:
    return reason.kind == "code" and reason.decides and "." in reason.what


def _code_words(reasons: "list[Reason]") -> "Iterable[str]":
    """Definitions by what became of them."""
    groups = {
        "edited": [one.what for one in reasons if one.before is not None and one.after is not None],
        "added": [one.what for one in reasons if one.before is None],
        "removed": [one.what for one in reasons if one.after is None],
    }
    return (f"code {what}: {listed(names, _MOST_NAMES)}" for what, names in groups.items() if names)


def _words(reason: "Reason") -> str:
    if reason.kind in ("first", "unknown", "looks up"):
        return reason.note
    if reason.kind in ("outputs gone", "forced", "edited"):
        of = f"the outputs of {reason.what} could not be reused" if reason.kind == "outputs gone" else reason.what
        return f"{of}: {reason.note}"
    if reason.kind == "failed before":
        told = f": {reason.note}" if reason.note else ""
        return f"an earlier attempt, {reason.what}, ended {str(reason.after).lower()}{told}"
    if "\n" in reason.note:
        return f"{reason.kind} {reason.what}:"
    if reason.kind == "input":
        return f"input {reason.what}: {_inputs(reason.before)} -> {_inputs(reason.after)} ({reason.note})"
    note = f" ({reason.note})" if reason.note else ""
    before, after = words_of_both(reason.before, reason.after)
    return f"{reason.kind} {reason.what}: {before} -> {after}{note}"


def _inputs(artifacts: "list[InputArtifact]") -> str:
    told = (f"{one.artifact}" + (f" by {one.made_by}" if one.made_by else "") for one in artifacts)
    return ", ".join(told) or "none"
