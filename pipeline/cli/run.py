"""`braid run`."""

import os
import shlex

import click

from pipeline.cli import options


@click.command("run")
@options.configuration
@options.workspace
@options.store
@click.option(
    "--target",
    default="local",
    help="Where the Beam jobs are done: a name in configs/targets, or a YAML file. --set lays its keys over it.",
)
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
@options.as_json
@click.option("--verbose", is_flag=True, help="Let TFX and Beam log.")
def command(
    config: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    workspace: str,
    store: str,
    target: str,
    workers: int,
    resume: str,
    first: str,
    last: str,
    only: str,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the pipeline of CONFIG: steps that nothing has changed for are reused, the others run."""
    from pipeline.cli import quiet

    context = click.get_current_context()
    shows_all = verbose or context.obj["debug"]
    context.with_resource(quiet.silence(verbose))
    from pipeline import display, loading, planning, stores, terminal
    from pipeline.errors import NotReusableError, StepFailedError
    from pipeline.selection import Selection
    from pipeline.targets import loading as targets
    from pipeline.targets.beam_options import placement
    from pipeline.workspace import Workspace

    console = terminal.console(stderr=as_json)
    beam = targets.load(target, [*assignments, *([f"workers={workers}"] if workers else [])])
    on = placement(beam.name, beam.target)
    loaded = loading.load(config, overlays, beam.others)
    place = Workspace(os.path.abspath(workspace), store).create()
    stores.check_writable(place.store)
    plan = planning.plan(loaded, place.memo)
    with console.status("Loading TFX ..."), quiet.native_logs(verbose), quiet.without_stock_components():
        from pipeline import runner
    watcher = display.LiveWatcher(console, config)
    on_target = [] if target == "local" else ["--target", target]
    selection = Selection(resume, first, last, only)
    try:
        with quiet.worker_tracebacks_held(shows_all):
            finished = runner.run(plan, place, watcher, on, selection)
    except StepFailedError as error:
        if not isinstance(error.cause, NotReusableError):  # the step itself failed
            again = [
                config,
                *_arguments(overlays, assignments),
                *_place(workspace, store),
                *on_target,
                "--resume",
                error.run,
            ]
            again += selection.options
            error.hint += f"\nGo on:  braid run {shlex.join(again)}"
            error.hint += (
                f"\nDebug:  braid debug {shlex.join([f'{error.run}/{error.step}', *_place(workspace, store)])}"
            )
        raise
    if as_json:
        options.print_json(display.as_dict(finished))
    else:
        display.summary(console, finished, with_steps=False)


def _arguments(overlays: tuple[str, ...], assignments: tuple[str, ...]) -> list[str]:
    """The options of this command that decide what is run, as they would be typed again."""
    words = [word for overlay in overlays for word in ("--overlay", overlay)]
    return words + [word for assignment in assignments for word in ("--set", assignment)]


def _place(workspace: str, store: str) -> list[str]:
    """The options that say where the run is recorded, but for an address with a password, which the environment keeps."""
    words = [] if workspace == ".braid" else ["--workspace", workspace]
    return words + (["--store", store] if store and "://" not in store else [])
