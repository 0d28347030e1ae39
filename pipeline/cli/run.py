"""`braid run`."""

import os

import click

from pipeline.cli import options


@click.command("run")
@options.configuration
@options.workspace
@click.option("--workers", default=0, help="Threads of the Beam jobs; 0 for one a core.")
@options.as_json
@click.option("--verbose", is_flag=True, help="Let TFX and Beam log.")
def command(
    config: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    workspace: str,
    workers: int,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the pipeline of CONFIG: steps that nothing has changed for are reused, the others run."""
    from pipeline.cli import quiet

    context = click.get_current_context()
    shows_all = verbose or context.obj["debug"]
    context.with_resource(quiet.silence(verbose))
    from pipeline import display, loading, planning, terminal
    from pipeline.workspace import Workspace

    console = terminal.console(stderr=as_json)
    loaded = loading.load(config, overlays, assignments)
    place = Workspace(os.path.abspath(workspace)).create()
    plan = planning.plan(loaded, place.memo)
    with console.status("Loading TFX ..."), quiet.native_logs(verbose), quiet.without_stock_components():
        from pipeline import runner
    with quiet.worker_tracebacks_held(shows_all):
        finished = runner.run(plan, place, display.LiveWatcher(console, config), workers)
    if as_json:
        options.print_json(display.as_dict(finished))
    else:
        display.summary(console, finished, with_steps=False)
