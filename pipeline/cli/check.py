"""`braid check`."""

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.planning import Plan
    from pipeline.preflight.checking import Report
    from pipeline.preflight.finding import Finding


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    config: str
    overlays: tuple[str, ...]
    assignments: tuple[str, ...]
    workspace: str
    target: str
    fresh: bool
    template: str
    parameters: tuple[str, ...]
    as_json: bool


@click.command("check")
@options.configuration
@options.workspace
@click.option(
    "--target",
    default="",
    help="Check also what a run on this target would meet, and estimate its cost. --set lays its keys over it.",
)
@click.option(
    "--fresh", is_flag=True, help="Install the workers' packages into a new environment for it; takes minutes."
)
@click.option("--template", default="", metavar="FILE", help="Check --parameter against this Flex Template.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Of a launch. May be repeated.")
@options.as_json
def command(**given: Any) -> None:
    """Check CONFIG: keys, sources, column types, queries, names; all that can be known from a sample, in seconds."""
    asked = Asked(**given)
    if asked.target in ("", "local") and not asked.template:
        _show_plan(asked, _plan(asked))
        return
    _before_the_run(asked)


def _plan(asked: Asked) -> "Plan":
    from pipeline import loading, planning
    from pipeline.targets import loading as targets
    from pipeline.workspace import Workspace

    memo = Workspace(os.path.abspath(asked.workspace)).memo
    assignments = targets.others(asked.assignments) if asked.target else asked.assignments
    loaded = loading.load(asked.config, asked.overlays, assignments)
    return planning.plan(loaded, memo if os.path.isdir(os.path.dirname(memo)) else None)


def _show_plan(asked: Asked, plan: "Plan") -> None:
    from pipeline import display, terminal

    if asked.as_json:
        options.print_json(display.plan_as_dict(plan))
    else:
        display.plan(terminal.console(), plan)


def _before_the_run(asked: Asked) -> None:
    from pipeline.cli import quiet

    click.get_current_context().with_resource(quiet.silence())
    from beam_jobs.errors import BraidError
    from pipeline import terminal
    from pipeline.preflight import display
    from pipeline.preflight.finding import Finding

    plan: Plan | None = None
    first: list[Finding] = []
    try:
        plan = _plan(asked)
    except BraidError as error:  # told with all else that is wrong
        first.append(Finding(asked.config, str(error), error.hint))
    first += _of_template(asked)
    with terminal.console(stderr=True).status("Checking ..."), quiet.worker_tracebacks_held():
        report = _report(asked, plan, first)
    if asked.as_json:
        options.print_json(display.as_dict(report))
    else:
        if plan:
            _show_plan(asked, plan)
        display.report(terminal.console(), report)
    if report.refused:
        sys.exit(1)


def _report(asked: Asked, plan: "Plan | None", first: "list[Finding]") -> "Report":
    from pipeline.preflight import checking
    from pipeline.preflight.checking import Report
    from pipeline.preflight.finding import sorted_findings
    from pipeline.targets import loading as targets
    from pipeline.targets.target import Dataflow

    if asked.target in ("", "local"):
        return Report(tuple(sorted_findings(first)), None, 0.0)
    theirs = targets.others(asked.assignments)
    service = targets.load(asked.target, [text for text in asked.assignments if text not in theirs])
    if isinstance(service, Dataflow):
        report = checking.check(plan, service, fresh=asked.fresh, while_tfx_loads=_while_tfx_loads())
    else:
        report = checking.check_portable(service)
    return Report(tuple(sorted_findings([*first, *report.findings])), report.estimate, report.seconds)


@contextmanager
def _while_tfx_loads() -> "Iterator[None]":
    from pipeline.cli import quiet

    with quiet.native_logs(), quiet.without_stock_components():
        yield


def _of_template(asked: Asked) -> "list[Finding]":
    from pipeline.preflight import template_parameters

    if not asked.template:
        return []
    given = {name: value for name, _, value in (text.partition("=") for text in asked.parameters)}
    return list(template_parameters.check(template_parameters.read_metadata(asked.template), given, asked.template))
