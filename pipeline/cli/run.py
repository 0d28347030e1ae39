"""`braid run`."""

import dataclasses
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.errors import StepFailedError
    from pipeline.runs import Run


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    config: str
    overlays: tuple[str, ...]
    assignments: tuple[str, ...]
    workspace: str
    store: str
    target: str
    workers: int
    resume: str
    first: str
    last: str
    only: str
    detach: bool
    check: bool
    as_json: bool
    verbose: bool

    @property
    def command(self) -> str:
        """The command that asks for the same run from wherever."""
        config, *overlays = (os.path.abspath(path) for path in (self.config, *self.overlays))
        target = os.path.abspath(self.target) if os.path.isfile(self.target) else self.target
        workspace = self.workspace if self.workspace == ".braid" else os.path.abspath(self.workspace)
        asked = dataclasses.replace(self, config=config, overlays=tuple(overlays), target=target, workspace=workspace)
        workers = ["--workers", str(self.workers)] if self.workers else []
        return shlex.join(["braid", "run", config, *asked.again, *workers])

    @property
    def again(self) -> list[str]:
        """The options that decide what is run, as they would be typed again."""
        words = [word for overlay in self.overlays for word in ("--overlay", overlay)]
        words += [word for assignment in self.assignments for word in ("--set", assignment)]
        words += self.place
        return words if self.target == "local" else [*words, "--target", self.target]

    @property
    def place(self) -> list[str]:
        """The options that say where the run is recorded."""
        return options.recorded_at(self.workspace, self.store)


@click.command("run")
@options.configuration
@options.workspace
@options.store
@options.target
@click.option("--workers", default=0, help="Workers of a Beam job; the target's unless given.")
@click.option(
    "--resume", metavar="RUN", default="", help="Go on with a run that failed or was cut off; `latest` is the newest."
)
@click.option(
    "--from",
    "first",
    metavar="STEP",
    default="",
    help="Run this step and all that depends on it, whatever the cache holds.",
)
@click.option("--to", "last", metavar="STEP", default="", help="Run no step but this one and those that it depends on.")
@click.option("--only", metavar="STEP", default="", help="Run this step alone; the others come from the cache.")
@click.option(
    "--detach",
    is_flag=True,
    help="Leave a service's job as soon as it is submitted; `braid attach` goes on from there.",
)
@click.option(
    "--check/--no-check",
    default=True,
    help="Whether to check first, as `braid check` does, what a run on a service would meet. [default: check]",
)
@options.as_json
@click.option("--verbose", is_flag=True, help="Let TFX and Beam log.")
def command(**given: Any) -> None:
    """Run the pipeline of CONFIG: steps that nothing has changed for are reused, the others run."""
    from pipeline.cli import quiet

    asked = Asked(**given)
    context = click.get_current_context()
    context.with_resource(quiet.silence(asked.verbose))
    from pipeline import display, terminal

    console = terminal.console(stderr=asked.as_json)
    finished = _run(asked, console, shows_all=asked.verbose or context.obj["debug"])
    if asked.as_json:
        options.print_json(display.as_dict(finished))
    else:
        display.summary(console, finished, with_steps=False)


def _run(asked: Asked, console: "Console", shows_all: bool) -> "Run":
    from pipeline import display, loading, planning, stores
    from pipeline.cli import preflight, quiet
    from pipeline.errors import NotReusableError, StepFailedError
    from pipeline.remote.recorded_job import unfinished_jobs
    from pipeline.selection import Selection
    from pipeline.targets import loading as targets
    from pipeline.workspace import Workspace

    on = targets.placement_of(asked.target, asked.assignments, asked.workers, asked.detach)
    loaded = loading.load(asked.config, asked.overlays, targets.others(asked.assignments))
    place = Workspace(os.path.abspath(asked.workspace), asked.store).create()
    stores.check_writable(place.store)
    plan = planning.plan(loaded, place.memo)
    if on.service and asked.check and not asked.resume and not unfinished_jobs(place, loaded.config.name):
        preflight.before_a_run(console, plan, on.service, asked.verbose)
    with console.status("Loading TFX ..."), quiet.native_logs(asked.verbose), quiet.without_stock_components():
        from pipeline import runner
    selection = Selection(asked.resume, asked.first, asked.last, asked.only)
    try:
        with quiet.worker_tracebacks_held(shows_all):
            return runner.run(plan, place, display.LiveWatcher(console, asked.config), on, selection, asked.command)
    except StepFailedError as error:
        if not isinstance(error.cause, NotReusableError):  # the step itself failed
            error.hint += _next_commands(asked, error, selection.options)
        raise


def _next_commands(asked: Asked, error: "StepFailedError", selected: list[str]) -> str:
    again = [asked.config, *asked.again, "--resume", error.run, *selected]
    step = [f"{error.run}/{error.step}", *asked.place]
    return f"\nGo on:  braid run {shlex.join(again)}\nDebug:  braid debug {shlex.join(step)}"
