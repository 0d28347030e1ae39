"""What people and programs see of a pre-flight."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipeline.preflight.checking import Report
from pipeline.preflight.estimate import Estimate, Range
from pipeline.preflight.finding import Finding, Severity
from pipeline.terminal import table

_MARKS: dict[Severity, str] = {"refused": "[red]✗[/]", "warning": "[yellow]![/]", "note": "[cyan]·[/]"}


def report(console: Console, told: Report) -> None:
    """All findings, refusals first, then what the run may cost."""
    _findings(console, told.findings)
    if told.estimate:
        _estimate(console, told.estimate)
    count = sum(one.severity == "refused" for one in told.findings)
    words = f"[red]{count} would fail.[/]" if count else "[green]Nothing that would fail was found.[/]"
    console.print(f"{words} ({told.seconds:.0f} s)")


def before_a_run(console: Console, told: Report) -> None:
    """What somebody wants to know whose run is about to begin: warnings, and what it may cost."""
    for one in told.findings:
        if one.severity == "warning":
            console.print(f"{escape(one.where)}: {escape(one.message)}", style="yellow", soft_wrap=True)
    if told.estimate:
        cost, hours = _words(told.estimate.cost), _words(told.estimate.worker_hours)
        console.print(f"Estimate, if nothing is reused: {cost} {told.estimate.currency} for {hours} worker-hours.")


def _findings(console: Console, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    if not console.is_terminal:  # whole lines, for logs and for who searches them
        for one in findings:
            console.print(f"{_MARKS[one.severity]} {escape(one.where)}: {escape(one.message)}", soft_wrap=True)
            if one.hint:
                console.print(f"  {escape(one.hint)}", soft_wrap=True)
        return
    shown = table("", "where", "what", "what to do")
    for one in findings:
        shown.add_row(_MARKS[one.severity], escape(one.where), escape(one.message), escape(one.hint))
    console.print(shown)


def _estimate(console: Console, found: Estimate) -> None:
    shown = table("step", "rows", "worker-hours", found.currency, title="\nEstimate, with nothing taken from the cache")
    for job in found.jobs:
        shown.add_row(job.step, _whole(job.rows), _words(job.worker_hours), _words(job.cost))
    shown.add_row("all", "", _words(found.worker_hours), _words(found.cost))
    console.print(shown)
    console.print(
        f"{found.bytes / 1e9:.3g} GB of sources. A range, no promise: {escape(found.rates)}; docs/howto-preflight.md tells how."
    )


def _whole(rows: Range) -> str:
    low, high = (f"{value:.2g}" if value >= 1e6 else f"{value:,.0f}" for value in rows)
    return low if low == high else f"{low} to {high}"


def _words(value: Range) -> str:
    low, high = (f"{one:.2f}" if one < 100 else f"{one:,.0f}" for one in value)
    return low if low == high else f"{low} to {high}"


def as_dict(told: Report) -> dict[str, Any]:
    """For programs."""
    return {
        "refused": told.refused,
        "findings": [dataclasses.asdict(one) for one in told.findings],
        "estimate": told.estimate.to_dict() if told.estimate else None,
        "seconds": round(told.seconds, 3),
    }
