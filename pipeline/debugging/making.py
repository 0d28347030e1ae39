"""Makes capsules: what was recorded of a step becomes a folder with a program, its inputs and run configurations."""

import importlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import failures, storage
from beam_jobs.errors import DataError
from beam_jobs.folder_digest import files_in, folder_size
from pipeline.debugging import editors, environment, programs, sampling
from pipeline.debugging.capsule import INPUTS, REPLAY, Capsule, Stored
from pipeline.debugging.recorded import RecordedArtifact, RecordedStep
from pipeline.debugging.redirection import parameters_of
from pipeline.errors import RunError
from pipeline.run_facts import PROJECT, without_credentials

COPIED_BYTES = 200 << 20
"""Inputs of up to so many bytes are copied into the capsule; larger ones are read where they lie, unless in a bucket."""
FACTS = (
    "code_commit",
    "code_dirty",
    "lock_digest",
    "python",
    "runner",
    "target",
    "seconds",
    "error_type",
    "error_signature",
)
REPLAY_FAILURE, TRACEBACK = "replay_failure.py", "traceback.txt"


@dataclass(frozen=True)
class Wishes:
    """What the user asked of a capsule.

    Attributes:
      copy: copy inputs of any size.
      sample: rows that tables are cut down to; 0 for whole tables.
      code: the root of the code to replay with; '' for this program's own.
      interpreter: the Python of the run configurations; '' for this program's own.
    """

    copy: bool = False
    sample: int = 0
    code: str = ""
    interpreter: str = ""


@dataclass(frozen=True)
class Made:
    """A capsule that was made, and what its user should know of it."""

    capsule: Capsule
    notes: tuple[str, ...]


def make(step: RecordedStep, folder: str, wishes: Wishes) -> Made:
    """Writes a step's capsule into a folder; one that is there is made anew, but for its replays.

    Raises:
      RunError: the step has no executor, or an input is gone.
    """
    executor, names = _executor(step), _parameter_names(step)
    notes: list[str] = []
    os.makedirs(folder, exist_ok=True)
    capsule = Capsule(
        run=step.execution.run,
        step=step.execution.step,
        pipeline=step.execution.pipeline,
        execution=step.execution.id,
        state=step.execution.state,
        project=os.path.abspath(wishes.code or PROJECT),
        component=step.execution.type,
        executor=executor,
        parameters={name: step.properties[name] for name in names if name in step.properties},
        redirected=parameters_of(executor),
        inputs=_inputs(step, folder, wishes, notes),
        outputs=_by_key(step.outputs, lambda found, _: Stored(**found.to_json(), original=found.artifact.uri)),
        facts={name: step.properties[name] for name in FACTS if name in step.properties},
        error=step.fact("error"),
        sampled=wishes.sample,
        folder=os.path.abspath(folder),
    )
    capsule.save()
    scripts = _programs(capsule, step, notes)
    _describe_environment(capsule, notes)
    editors.write(capsule.folder, capsule.project, wishes.interpreter or sys.executable, scripts)
    storage.write_text(capsule.path("README.txt"), programs.readme(capsule, notes, scripts))
    return Made(capsule, tuple(notes))


def _executor(step: RecordedStep) -> str:
    """The executor's class: as recorded, else as the component has it."""
    if step.fact("executor"):
        return step.fact("executor")
    component = _component(step)
    spec = getattr(component, "EXECUTOR_SPEC", None)
    path = getattr(spec, "class_path", "") if spec is not None else ""
    if not path:
        raise RunError(
            f"'{step.name}' has no executor to step through: it is {step.execution.type}.",
            "Steps that look artifacts up do no work; `braid lineage up` tells what they found.",
        )
    return str(path)


def _parameter_names(step: RecordedStep) -> list[str]:
    recorded = step.fact("parameter_names")
    if recorded or "parameter_names" in step.properties:
        return [name for name in recorded.split(",") if name]
    return list(_component(step).SPEC_CLASS.PARAMETERS)


def _component(step: RecordedStep) -> Any:
    module, _, name = step.execution.type.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(
            f"'{step.name}' is a '{step.execution.type}', which cannot be imported here: {error}.",
            "Run `braid debug` where the pipeline's code is importable: set PYTHONPATH to its folder.",
        ) from error


def _inputs(step: RecordedStep, folder: str, wishes: Wishes, notes: list[str]) -> dict[str, tuple[Stored, ...]]:
    sizes = {found.artifact.id: _size(step, found) for found in step.inputs}
    small = sum(sizes.values()) <= COPIED_BYTES

    def stored(found: RecordedArtifact, at: int) -> Stored:
        uri, relative = found.artifact.uri, os.path.join(INPUTS, found.key, str(at))
        remote = storage.is_remote(uri)
        if wishes.sample and sampling.is_table(uri):
            kept = sampling.sample(uri, os.path.join(folder, relative), wishes.sample, _streams(step, found))
            notes.append(f"{found.key}: {kept}")
        elif remote or wishes.copy or small:
            _fetch(uri, os.path.join(folder, relative))
        else:
            notes.append(
                f"{found.key}: {sizes[found.artifact.id]:,} bytes are read where they lie ({uri}); --copy copies them."
            )
            return Stored(**found.to_json(), original=uri, place=uri)
        return Stored(**found.to_json(), original=uri, place=relative)

    return _by_key(step.inputs, stored)


def _size(step: RecordedStep, found: RecordedArtifact) -> int:
    try:
        return folder_size(found.artifact.uri)[1]
    except DataError as error:
        raise RunError(
            f"'{found.key}' of step '{step.name}' is gone: {error}",
            "Run the pipeline again, which writes it anew; `braid lineage verify` lists what else is missing.",
        ) from error


def _streams(step: RecordedStep, found: RecordedArtifact) -> bool:
    """Whether the step streams the table: a table that it broadcasts stays whole, or joins would find no partner."""
    config = str(step.properties.get("config", ""))
    return f'"stream": "{found.artifact.properties.get("table", "")}"' in config or '"stream"' not in config


def _fetch(uri: str, folder: str) -> None:
    """Copies a folder, unless a copy of the same size is there already."""
    files = files_in(uri)
    if os.path.isdir(folder) and folder_size(folder) == folder_size(uri):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for relative, path in files:
        target = os.path.join(folder, relative)
        with storage.open_input(path) as source, storage.open_output(target) as copy:
            shutil.copyfileobj(source, copy)


def _by_key(artifacts: tuple[RecordedArtifact, ...], stored: Any) -> dict[str, tuple[Stored, ...]]:
    found: dict[str, list[Stored]] = {}
    for artifact in artifacts:
        of_key = found.setdefault(artifact.key, [])
        of_key.append(stored(artifact, len(of_key)))
    return {key: tuple(of_key) for key, of_key in found.items()}


def _programs(capsule: Capsule, step: RecordedStep, notes: list[str]) -> list[str]:
    """Writes the programs that replay, and what is known of a failure; returns the programs' names."""
    storage.write_text(capsule.path(REPLAY), programs.replay(capsule))
    told = step.fact("traceback")
    if told and storage.exists(told):
        storage.write_text(capsule.path(TRACEBACK), storage.read_text(told))
    kept = [uri for output in step.outputs if failures.list_failures(uri := output.artifact.uri)]
    if not kept:
        return [REPLAY]
    _fetch(f"{kept[0].rstrip('/')}/{failures.FOLDER}", capsule.path(failures.FOLDER))
    storage.write_text(capsule.path(REPLAY_FAILURE), programs.replay_failure(capsule))
    notes.append(f"The rows that failed are in {failures.FOLDER}/; {REPLAY_FAILURE} runs on them alone.")
    return [REPLAY, REPLAY_FAILURE]


def _describe_environment(capsule: Capsule, notes: list[str]) -> None:
    recorded = recorded_environment(capsule.facts)
    notes += environment.differences(recorded, capsule.project)
    lock = environment.lock_of(recorded)
    if lock is None:
        notes.append("The run's lock is not to be had, so that its packages cannot be installed again.")
        return
    storage.write_text(capsule.path("requirements.txt"), lock)
    storage.write_text(capsule.path("Dockerfile"), environment.dockerfile(recorded.python))


def recorded_environment(facts: Mapping[str, Any]) -> environment.Recorded:
    """The environment in a step's facts."""
    return environment.Recorded(
        commit=str(facts.get("code_commit", "")),
        dirty=bool(facts.get("code_dirty", 0)),
        lock=str(facts.get("lock_digest", "")),
        python=str(facts.get("python", "")),
    )


def default_folder(workspace: str, step: RecordedStep) -> str:
    """Where a capsule goes unless told otherwise."""
    return os.path.join(workspace, "capsules", without_credentials(f"{step.execution.run}-{step.execution.step}"))
