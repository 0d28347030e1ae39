"""`braid deploy`: what other machines run, written as files, with the commands that take them there."""

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.deploy.flex_template import Template
    from pipeline.deploy.image import BuildFolder
    from pipeline.targets.target import Dataflow

_FOLDER = "The folder to write; files of the same names are replaced."
_target_option = click.option(
    "--target",
    default="dataflow",
    show_default=True,
    help="The target, one of the service's. --set lays its keys over it.",
)


@click.group("deploy")
def command() -> None:
    """Write images and templates for Google Cloud, and say the commands that build, push and start them."""


@command.command("image", short_help="An image for workers, or for Braid itself.")
@click.option("--folder", metavar="DIR", default="", help=_FOLDER + " [default: deploy/worker or deploy/orchestrator]")
@click.option("--orchestrator", is_flag=True, help="An image that runs `braid` itself, not one for workers.")
@click.option("--kind", "kinds", multiple=True, help="Only for jobs of this kind, such as prepare. May be repeated.")
@click.option(
    "--family", "families", multiple=True, help="Only models of this family, such as xgboost. May be repeated."
)
@click.option("--image", default="", help="The image's name. [default: one in the project's registry]")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One value of the target, such as project=..."
)
@_target_option
@options.as_json
def image_command(
    folder: str,
    orchestrator: bool,
    kinds: Sequence[str],
    families: Sequence[str],
    image: str,
    assignments: tuple[str, ...],
    target: str,
    as_json: bool,
) -> None:
    """Write the build folder of an image for workers, with all that their jobs need, or for Braid itself."""
    from pipeline.deploy import image as images
    from pipeline.deploy import staging

    what = "orchestrator" if orchestrator else "worker"
    folder = folder or os.path.join("deploy", what)
    if orchestrator:
        build = images.write_orchestrator(folder)
    else:
        build = images.write_worker(folder, kinds or tuple(staging.STEPS), families or tuple(staging.FAMILIES))
    service = _service(target, assignments)
    image = image or images.in_registry(service, what, build.tag)
    commands = _building(image, build, service)
    _warn(build)
    use = "" if orchestrator else f"braid run CONFIG --target {target} --set image={image}"
    if as_json:
        options.print_json({"folder": folder, "files": build.files, "image": image, "commands": commands, "use": use})
        return
    click.echo(f"Wrote {os.path.join(folder, images.DOCKERFILE)}, which copies {len(build.files)} files.")
    _say("Build and push it by one of:", commands)
    if use:
        _say("Workers come from it with:", [use])


@command.command("template", short_help="A Flex Template of a data strand.")
@options.configuration
@click.option("--image", default="", help="The launcher's image. [default: one in the project's registry]")
@click.option("--folder", metavar="DIR", default="", help=_FOLDER + " [default: deploy/PIPELINE-template]")
@click.option(
    "--parameter",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the launches, such as run=monday or source_sales=gs://... May be repeated.",
)
@_target_option
@options.as_json
def template_command(
    config: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    image: str,
    folder: str,
    given: tuple[str, ...],
    target: str,
    as_json: bool,
) -> None:
    """Write a Flex Template of CONFIG's data strand, to be started by schedule or API."""
    from pipeline import loading, planning
    from pipeline.deploy import data_strand, flex_template
    from pipeline.targets.loading import others

    service = _service(target, assignments, needed=("project", "bucket"))
    plan = planning.plan(loading.load(config, overlays, others(assignments)))
    strand = data_strand.of_plan(plan, service.steps)
    parameters = _parameters(given)
    flex_template.check(strand, service, parameters)
    folder = folder or os.path.join("deploy", f"{strand.pipeline}-template")
    written = flex_template.write(strand, service, folder, image, parameters)
    _warn(written.build)
    if as_json:
        options.print_json(_told(written, service))
        return
    click.echo(f"Wrote {folder}: the launcher's image, the template, {len(written.bodies)} launches and a workflow.")
    _say("Build and push the launcher's image by one of:", _building(written.image, written.build, service))
    _say("Put the template into the bucket:", [_staging(written)])
    _say("Start the stages, each when the one before is done:", flex_template.starting(written, service))
    _say("Or post the launches, as a scheduler would:", [_posting(written)])
    _say("Or start all of them, one after the other, by a workflow:", _workflow(written, service))


def _service(target: str, assignments: Sequence[str], needed: Sequence[str] = ()) -> "Dataflow":
    """The target with those of the assignments that are its own; a placeholder for a project that is not needed."""
    from pipeline.errors import ConfigError
    from pipeline.targets import loading
    from pipeline.targets.target import Dataflow

    service = loading.load(target, [text for text in assignments if text not in loading.others([text])])
    if not isinstance(service, Dataflow):
        raise ConfigError(
            f"The target '{target}' is not of the kind `runner: dataflow`.", "Images and templates are for that."
        )
    missing = [key for key in needed if not getattr(service, key)]
    if missing:
        hint = "Give them: " + " ".join(f"--set {key}=..." for key in missing)
        raise ConfigError(f"The target '{target}' needs {' and '.join(missing)}.", hint)
    return service if service.project else service.model_copy(update={"project": "PROJECT"})


def _parameters(given: Sequence[str]) -> dict[str, str]:
    from pipeline.errors import ConfigError

    for text in given:
        if "=" not in text:
            raise ConfigError(f"--parameter {text}: there is no '='.", "Write --parameter NAME=VALUE.")
    return dict(text.split("=", 1) for text in given)


def _building(image: str, build: "BuildFolder", service: "Dataflow") -> list[str]:
    return [
        shlex.join(["docker", "buildx", "build", "--platform", "linux/amd64", "--tag", image, "--push", build.folder]),
        shlex.join(["gcloud", "builds", "submit", "--project", service.project, "--tag", image, build.folder]),
    ]


def _staging(written: "Template") -> str:
    from pipeline.deploy import flex_template

    return shlex.join(["gcloud", "storage", "cp", os.path.join(written.folder, flex_template.SPEC), written.spec])


def _posting(written: "Template") -> str:
    first = os.path.join(written.folder, next(iter(written.bodies)))
    token = '"Authorization: Bearer $(gcloud auth print-access-token)"'
    return f"curl -H {token} -H 'Content-Type: application/json' -d @{shlex.quote(first)} {written.launches}"


def _workflow(written: "Template", service: "Dataflow") -> list[str]:
    from pipeline.deploy import flex_template

    name = flex_template.plain(written.pipeline)
    source = os.path.join(written.folder, flex_template.WORKFLOW)
    place = [f"--project={service.project}", f"--location={service.region}"]
    return [
        shlex.join(["gcloud", "workflows", "deploy", name, f"--source={source}", *place]),
        shlex.join(["gcloud", "workflows", "run", name, '--data={"run": "monday"}', *place]),
    ]


def _warn(build: "BuildFolder") -> None:
    """Tells of code that nobody could find again."""
    from beam_jobs.errors import listed

    if build.changed:
        click.echo(f"The wheel holds what no commit does: {listed(build.changed)}.", err=True)


def _say(title: str, commands: Sequence[str]) -> None:
    click.echo(f"\n{title}")
    for line in commands:
        click.echo(f"  {line}")


def _told(written: "Template", service: "Dataflow") -> dict[str, Any]:
    from pipeline.deploy import flex_template

    return {
        "folder": written.folder,
        "image": written.image,
        "template": written.spec,
        "launch_at": written.launches,
        "launches": list(written.bodies),
        "commands": {
            "image": _building(written.image, written.build, service),
            "template": [_staging(written)],
            "start": flex_template.starting(written, service),
            "post": [_posting(written)],
            "workflow": _workflow(written, service),
        },
    }
