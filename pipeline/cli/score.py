"""`braid score`."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.scoring.planning import Request, ScoringPlan
    from pipeline.scoring.running import Scored

CHECK_ROWS = 100_000


@click.command("score")
@click.argument("model", metavar="MODEL")
@click.argument("table", metavar="TABLE")
@click.option("--to", "folder", metavar="DIR", required=True, help="Where the predictions go: a new or empty folder.")
@click.option(
    "--with", "passed", metavar="COLUMN", multiple=True, help="Hand on a column of the examples. May be repeated."
)
@click.option("--contributions", is_flag=True, help="Tell what each feature adds to each prediction.")
@click.option(
    "--source", "places", metavar="NAME=PATH", multiple=True, help="Another place of a side table. May be repeated."
)
@click.option("--prepared", is_flag=True, help="TABLE has the columns of the examples already: run no query on it.")
@click.option("--keep-all-rows", is_flag=True, help="Score also rows of TABLE that training would have filtered out.")
@click.option("--strict", is_flag=True, help="Stop where TABLE is not like what the model was trained on.")
@click.option(
    "--check-rows",
    type=click.IntRange(min=0),
    default=CHECK_ROWS,
    show_default=True,
    help="Rows of TABLE that are held against training; 0 for none.",
)
@click.option(
    "--drift", type=click.FloatRange(0, 1), default=None, help="The bound on drift, 0 to 1. [default: as in training]"
)
@click.option("--force", is_flag=True, help="Replace predictions that DIR holds.")
@options.target
@click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a key of the target. May be repeated."
)
@click.option("--workers", default=0, help="Workers of the Beam job; the target's unless given.")
@click.option("--resume", metavar="RUN", default="", help="Go on with a scoring run that failed or was cut off.")
@options.workspace
@options.store
@options.as_json
@click.option("--verbose", is_flag=True, help="Let TFX and Beam log.")
def command(**given: Any) -> None:
    """Score every row of TABLE with MODEL, prepared as the training rows were, into Parquet files in DIR."""
    from pipeline.cli import quiet

    asked = _Asked(**given)
    context = click.get_current_context()
    context.with_resource(quiet.silence(asked.verbose))
    from pipeline import terminal

    console = terminal.console(stderr=asked.as_json)
    plan, scored = _score(asked, console, shows_all=asked.verbose or context.obj["debug"])
    if asked.as_json:
        options.print_json(_as_dict(plan, scored))
    else:
        _summary(console, plan, scored)


@dataclass(frozen=True)
class _Asked:
    """What was typed."""

    model: str
    table: str
    folder: str
    passed: tuple[str, ...]
    contributions: bool
    places: tuple[str, ...]
    prepared: bool
    keep_all_rows: bool
    strict: bool
    check_rows: int
    drift: float | None
    force: bool
    target: str
    assignments: tuple[str, ...]
    workers: int
    resume: str
    workspace: str
    store: str
    as_json: bool
    verbose: bool

    def request(self) -> "Request":
        """What is to be scored, and how."""
        from pipeline.scoring.planning import Request

        return Request(
            self.table,
            _places(self.places),
            self.passed,
            self.contributions,
            self.prepared,
            self.keep_all_rows,
            self.strict,
            self.check_rows,
            self.drift,
        )

    @property
    def where(self) -> tuple[str, ...]:
        """The options that say where it runs and is recorded."""
        words = [] if self.target == "local" else ["--target", self.target]
        words += [word for assignment in self.assignments for word in ("--set", assignment)]
        return (*words, *_recorded_at(self.workspace, self.store))


def _score(asked: _Asked, console: Any, shows_all: bool) -> "tuple[ScoringPlan, Scored]":
    from pipeline import display, stores
    from pipeline.cli import preflight, quiet
    from pipeline.errors import StepFailedError
    from pipeline.scoring import planning
    from pipeline.scoring.publishing import Place
    from pipeline.targets import loading as targets
    from pipeline.workspace import Workspace

    for strange in targets.others(asked.assignments):
        raise click.UsageError(f"--set takes keys of the target here, not '{strange}'.")
    on = targets.placement_of(asked.target, asked.assignments, asked.workers)
    room = Workspace(os.path.abspath(asked.workspace), asked.store)
    place = Place.of(asked.folder, asked.force)
    place.check()
    request = asked.request()
    stores.check_writable(room.store)
    plan = planning.plan_for(asked.model, room.store, request, room.memo)
    for note in plan.notes:
        console.print(note, style="yellow", soft_wrap=True, markup=False)
    if on.service and not asked.resume:
        preflight.before_a_run(console, None, on.service, asked.verbose)
    with console.status("Loading TFX ..."), quiet.native_logs(asked.verbose), quiet.without_stock_components():
        from pipeline.scoring import running
    again = _Again(asked.model, request, place.folder, asked.where)
    watcher = display.LiveWatcher(console, request.table)
    try:
        with quiet.worker_tracebacks_held(shows_all):
            return plan, running.score(plan, place, room, watcher, on, asked.resume, again.command("--force"))
    except StepFailedError as error:
        force = ["--force"] if place.replaces else []
        recorded = _recorded_at(asked.workspace, asked.store)
        error.hint += f"\nGo on:  {again.command(*force, '--resume', error.run)}"
        error.hint += f"\nDebug:  {shlex.join(['braid', 'debug', f'{error.run}/{error.step}', *recorded])}"
        raise


@dataclass(frozen=True)
class _Again:
    """What asks for the same predictions again, from wherever.

    Attributes:
      where: the options that say where it runs and is recorded.
    """

    model: str
    request: "Request"
    folder: str
    where: tuple[str, ...]

    def command(self, *more: str) -> str:
        """The command with more options behind it."""
        from beam_jobs import storage

        table = storage.resolve(self.request.table)
        return shlex.join(
            ["braid", "score", self.model, table, "--to", self.folder, *self._options(), *self.where, *more]
        )

    def _options(self) -> Iterator[str]:
        from beam_jobs import storage

        request = self.request
        for column in request.passed:
            yield from ("--with", column)
        for name, path in request.sources.items():
            yield from ("--source", f"{name}={storage.resolve(path)}")
        flags = {
            "--contributions": request.contributions,
            "--prepared": request.prepared,
            "--keep-all-rows": request.keeps_all_rows,
            "--strict": request.strict,
        }
        yield from (flag for flag, is_set in flags.items() if is_set)
        if request.check_rows != CHECK_ROWS:
            yield from ("--check-rows", str(request.check_rows))
        if request.drift is not None:
            yield from ("--drift", str(request.drift))


def _places(given: tuple[str, ...]) -> dict[str, str]:
    for text in given:
        if not all(text.partition("=")[::2]):
            raise click.UsageError(f"--source takes NAME=PATH, not '{text}'.")
    return {name: path for name, _, path in (text.partition("=") for text in given)}


def _recorded_at(workspace: str, store: str) -> list[str]:
    """The options that say, from wherever, where it is recorded."""
    return options.recorded_at(workspace if workspace == ".braid" else os.path.abspath(workspace), store)


def _as_dict(plan: "ScoringPlan", scored: "Scored") -> dict[str, Any]:
    return {
        "model": {"artifact": plan.found.id, "name": plan.found.title},
        "run": scored.run.name,
        "state": scored.run.state,
        "folder": scored.folder,
        "files": scored.files,
        "rows": scored.rows,
        "rejected": scored.rejected,
        "ledger": dict(scored.ledger),
        "columns": {column.name: str(column.type) for column in plan.outputs},
        "notes": list(plan.notes),
        "findings": scored.findings,
        "counted": scored.counted,
    }


def _summary(console: Any, plan: "ScoringPlan", scored: "Scored") -> None:
    from pipeline.terminal import ledger_words

    if scored.findings:
        console.print("The table is not quite like what the model was trained on:", style="yellow")
        for finding in scored.findings:
            console.print(f"- {finding}", style="yellow", soft_wrap=True, markup=False)
    for told in scored.counted:
        console.print(told, style="yellow", soft_wrap=True, markup=False)
    told = f"Predictions of {scored.rows:,} rows by {plan.found.title}: {scored.folder}"
    console.print(told, soft_wrap=True, markup=False)
    console.print(f"  {ledger_words(scored.ledger)}", markup=False)
