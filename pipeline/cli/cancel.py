"""`braid cancel`."""

import os

import click

from pipeline.cli import options


@click.command("cancel")
@click.argument("run", metavar="RUN", default="latest")
@options.workspace
@options.store
def command(run: str, workspace: str, store: str) -> None:
    """Cancel the job that RUN waits for at a service; the steps before it are kept."""
    from pipeline import stores, terminal
    from pipeline.remote import cancelling
    from pipeline.remote.recorded_job import job_of_run
    from pipeline.workspace import Workspace

    place = Workspace(os.path.abspath(workspace), store)
    found, job = job_of_run(stores.open_store(place.store), run)
    console = terminal.console()
    with console.status(f"Cancelling {job.title} ..."):
        told = cancelling.cancel(place, found.pipeline, job)
    console.print(told, soft_wrap=True, markup=False)
