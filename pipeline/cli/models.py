"""`braid models`."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.serving.judged import Judged
    from pipeline.serving.versions import Version

_MOST_METRICS = 2


@click.command("models")
@click.argument("pipeline", default="")
@options.workspace
@options.store
@options.as_json
def command(pipeline: str, workspace: str, store: str, as_json: bool) -> None:
    """List the models that were pushed, of PIPELINE or of all: figures, which one serves, which were withdrawn."""
    from pipeline.cli.questions import opened
    from pipeline.serving import versions
    from pipeline.serving.judged import judged

    archive = opened.archive(workspace, store)
    found = versions.versions(archive)
    if pipeline:
        found = _of(found, pipeline)
    told = [(version, judged(archive, version)) for version in found]
    if as_json:
        options.print_json([_as_dict(version, verdict) for version, verdict in told])
    elif not told:
        click.echo("No model was pushed yet.")
    else:
        _print(told)


def _of(found: "Sequence[Version]", pipeline: str) -> "list[Version]":
    from beam_jobs.errors import listed, nearest
    from pipeline.errors import RunError
    from pipeline.serving.versions import pipelines

    own = [one for one in found if one.pipeline == pipeline]
    if own:
        return own
    known = pipelines(found)
    raise RunError(
        f"No pipeline '{pipeline}' has pushed a model.{nearest(pipeline, known)}",
        f"Those that have: {listed(known) or 'none'}.",
    )


def _print(told: "Sequence[tuple[Version, Judged]]") -> None:
    from rich.markup import escape

    from pipeline import terminal

    console = terminal.console()
    for folder in dict.fromkeys(version.folder for version, _ in told):
        rows = [(version, verdict) for version, verdict in told if version.folder == folder]
        metrics = list(dict.fromkeys(name for _, verdict in rows for name in verdict.figures))[:_MOST_METRICS]
        split = next((verdict.split for _, verdict in rows if verdict.split), "")
        names = [f"{name} ({split})" for name in metrics]
        title = f"{rows[0][0].pipeline}: {folder}"
        shown = terminal.table("version", "", "pushed", "run", "model", *names, "blessed", title=escape(title))
        for version, verdict in rows:
            figures = [_figure(verdict.figures.get(name, {})) for name in metrics]
            moment = datetime.datetime.fromtimestamp(version.at / 1000).strftime("%Y-%m-%d %H:%M")
            cells = (version.name, _state(version), moment, version.run, _kind(verdict), *figures, _blessed(verdict))
            shown.add_row(*(escape(cell) for cell in cells), style="bold" if version.is_serving else None)
        console.print(shown)
        for version, _ in rows:
            if version.withdrawal is not None:
                one = version.withdrawal
                console.print(
                    f"{version.name} was withdrawn by {one.by}: {one.why}", style="yellow", soft_wrap=True, markup=False
                )


def _state(version: "Version") -> str:
    if version.is_serving:
        return "serves"
    if version.withdrawal is not None:
        return "withdrawn"
    return "" if version.is_there else "gone"


def _kind(verdict: "Judged") -> str:
    """The family, and the candidate's own name where it has one."""
    return verdict.family if verdict.name in ("", verdict.family) else f"{verdict.name} ({verdict.family})"


def _blessed(verdict: "Judged") -> str:
    return {None: "", True: "yes", False: "no"}[verdict.blessed]


def _figure(figure: Any) -> str:
    from pipeline.summary import with_interval

    return with_interval(figure)


def _as_dict(version: "Version", verdict: "Judged") -> dict[str, Any]:
    withdrawal = version.withdrawal
    return {
        "pipeline": version.pipeline,
        "version": version.name,
        "state": _state(version),
        "serving": version.is_serving,
        "path": version.path,
        "model": version.model.id if version.model else None,
        "models": [model.id for model in version.models],
        "run": version.run,
        "pushed": version.at,
        "family": verdict.family,
        "name": verdict.name,
        "split": verdict.split,
        "metrics": dict(verdict.figures),
        "blessed": verdict.blessed,
        "withdrawn": vars(withdrawal) if withdrawal else None,
    }
