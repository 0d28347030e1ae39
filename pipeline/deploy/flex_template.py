"""A Flex Template of the data strand: the launcher's image, the container spec, and what starts it, step by step.

One launch runs one graph, so that a template starts one stage of the strand (see `data_strand`); the workflow beside it
starts all, one after the other.
"""

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import listed
from pipeline.deploy import flex_main, image, staging, template_environment, worker_package, workflow
from pipeline.deploy.data_strand import DataStrand
from pipeline.deploy.image import BuildFolder
from pipeline.deploy.worker_pins import closure, requirements
from pipeline.errors import ConfigError
from pipeline.preflight import template_parameters
from pipeline.targets import dataflow_options
from pipeline.targets.target import Dataflow

BASE = "gcr.io/dataflow-templates-base/python311-template-launcher-base"
PLACE, MAIN = "/template", "main.py"
IMAGE_FOLDER, SPEC, WORKFLOW, LAUNCHES = "image", "template.json", "workflow.yaml", "launches"
API = "https://dataflow.googleapis.com"
LAUNCHER_PINS = "launcher-requirements.txt"
LAUNCHER_PACKAGES = (*worker_package.DATA.packages, "google-cloud-dataflow-client")
"""Beam's runner for Dataflow does not load without its client, though a template submits nothing."""
RUN = "first"
"""The run of the launches that are written, unless another is given."""
_BUCKET_PATH, _RUN = r"^gs://[^/]+(/.*)?$", r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


@dataclass(frozen=True)
class Template:
    """What was written.

    Attributes:
      pipeline: whose data strand it is.
      folder: where all of it lies.
      build: the launcher's image.
      image: its name.
      spec: the address of the container spec.
      launches: the address that launches are posted to.
      bodies: of the launches, by file, in their order.
    """

    pipeline: str
    folder: str
    build: BuildFolder
    image: str
    spec: str
    launches: str
    bodies: Mapping[str, Mapping[str, Any]]


def metadata(strand: DataStrand) -> dict[str, Any]:
    """What the service and the console know of the template and its parameters."""
    known = "|".join(strand.steps)
    found = [
        _parameter("steps", "Steps", _steps_help(strand), rf"^({known})(\+({known}))*$"),
        _parameter("root", "Folder of tables", "Where tables go and are read: gs://BUCKET/FOLDER.", _BUCKET_PATH),
        _parameter("run", "Run", "The name of the run; steps of one run read each other's tables.", _RUN),
    ]
    for name, source in strand.sources.items():
        told = f"Where the source '{name}' ({source['format']}) is in a bucket: a file, a folder or a glob."
        default = {} if name in strand.local_sources else {"isOptional": True, "defaultValue": source["path"]}
        found.append({**_parameter(f"{flex_main.SOURCE}{name}", f"Source {name}", told, _BUCKET_PATH), **default})
    return {
        "name": strand.pipeline,
        "description": f"The data strand of '{strand.pipeline}': {' -> '.join('+'.join(s) for s in strand.stages)}.",
        "parameters": found,
    }


def _parameter(name: str, label: str, told: str, regex: str) -> dict[str, Any]:
    return {"name": name, "label": label, "helpText": told, "isOptional": False, "regexes": [regex]}


def _steps_help(strand: DataStrand) -> str:
    stages = listed((flex_main.JOIN.join(stage) for stage in strand.stages), 40)
    return f"The steps to run, joined by {flex_main.JOIN}. In this order, each when the one before is done: {stages}."


def parameters(strand: DataStrand, target: Dataflow, given: Mapping[str, str]) -> list[dict[str, str]]:
    """The values of each launch in their order: `given` laid over what the strand and the target say."""
    common = {"root": f"{target.place}/data", "run": RUN, **given}
    return [{"steps": flex_main.JOIN.join(stage), **common} for stage in strand.stages]


def check(strand: DataStrand, target: Dataflow, given: Mapping[str, str]) -> None:
    """Refuses launches that the service would refuse.

    Raises:
      ConfigError: a parameter is missing, unknown, or not as it must be.
    """
    asked = metadata(strand)
    found = dict.fromkeys(
        finding
        for values in parameters(strand, target, given)
        for finding in template_parameters.check(asked, values, "launch")
    )
    if found:
        hints = dict.fromkeys(one.hint for one in found if one.hint)
        raise ConfigError("\n".join(one.message for one in found), "\n".join(hints))


def write(strand: DataStrand, target: Dataflow, folder: str, name: str, given: Mapping[str, str]) -> Template:
    """Writes the template.

    Args:
      strand: what it runs.
      target: where, and what workers are like.
      folder: where everything goes.
      name: of the launcher's image; '' for one in the project's registry, tagged by its content.
      given: parameters of the launches.
    """
    build = write_launcher(strand, os.path.join(folder, IMAGE_FOLDER))
    name = name or image.in_registry(target, f"{plain(strand.pipeline)}-template", build.tag)
    spec = {
        "image": name,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": metadata(strand),
        "defaultEnvironment": template_environment.of_target(target, strand.pipeline),
    }
    address = f"{target.place}/templates/{strand.pipeline}.json"
    launches = f"{target.endpoint or API}/v1b3/projects/{target.project}/locations/{target.region}/flexTemplates:launch"
    bodies = _bodies(strand, target, address, given)
    _write_json(os.path.join(folder, SPEC), spec)
    for file, body in bodies.items():
        _write_json(os.path.join(folder, file), body)
    told = workflow.text(plain(strand.pipeline), target.region, launches, list(bodies.values()))
    storage.write_text(os.path.join(folder, WORKFLOW), told)
    return Template(strand.pipeline, folder, build, name, address, launches, bodies)


def write_launcher(strand: DataStrand, folder: str) -> BuildFolder:
    """Writes the build folder of the launcher's image: the main program, the plan, the pins and the wheel for workers."""
    package = staging.package_of(["ingest", "prepare"], (), folder)
    lines = [
        f"FROM {BASE}",
        *image.installing(PLACE, os.path.basename(package.wheel), LAUNCHER_PINS),
        f"COPY {MAIN} {flex_main.STRAND} {flex_main.PACKAGES} {PLACE}/",
        f"ENV FLEX_TEMPLATE_PYTHON_PY_FILE={PLACE}/{MAIN}",
    ]
    # Sorted, as the parameters of a component are: splits are written in the order of their shares.
    told = json.dumps(strand.to_json(), indent=1, sort_keys=True, default=str)
    more = {
        LAUNCHER_PINS: requirements(closure(image.locked(), LAUNCHER_PACKAGES)),
        MAIN: storage.read_text(flex_main.__file__),
        flex_main.STRAND: f"{told}\n",
    }
    written = image.write(folder, lines, package.pins, package.wheel, package.digest, more)
    return dataclasses.replace(written, changed=package.changed)


def starting(template: Template, target: Dataflow) -> list[str]:
    """The commands that start the stages."""
    return [
        shlex.join(
            [
                *("gcloud", "dataflow", "flex-template", "run", body["launchParameter"]["jobName"]),
                *(f"--project={target.project}", f"--region={target.region}"),
                f"--template-file-gcs-location={template.spec}",
                f"--parameters={_joined(body['launchParameter']['parameters'])}",
            ]
        )
        for body in template.bodies.values()
    ]


def _joined(values: Mapping[str, str]) -> str:
    """As gcloud reads a map; `^~^` names another separator than the comma, which a path may hold."""
    words = [f"{name}={value}" for name, value in values.items()]
    return f"^~^{'~'.join(words)}" if any("," in word for word in words) else ",".join(words)


def _bodies(strand: DataStrand, target: Dataflow, address: str, given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    bodies = {}
    for number, (stage, values) in enumerate(zip(strand.stages, parameters(strand, target, given), strict=True), 1):
        own = target.steps.get(stage[0])
        workers = template_environment.of_workers(target.of_step(stage[0])) if own else {}
        launch = {
            "jobName": f"{plain(strand.pipeline)}-{values['run']}-{number}",
            "containerSpecGcsPath": address,
            "parameters": values,
            "environment": workers,
        }
        bodies[os.path.join(LAUNCHES, f"{number}-{'+'.join(stage)}.json")] = {"launchParameter": launch}
    return bodies


def plain(name: str) -> str:
    """A name as jobs and images may have it."""
    return dataflow_options.label(name).replace("_", "-").strip("-")


def _write_json(path: str, value: Mapping[str, Any]) -> None:
    storage.write_text(path, json.dumps(value, indent=1) + "\n")
