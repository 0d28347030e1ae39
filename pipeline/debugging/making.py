"""Makes capsules: what was recorded of a step becomes a folder with a program, its inputs and run configurations."""

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs import failures, storage
from pipeline.debugging import copying, editors, environment, programs
from pipeline.debugging.capsule import REPLAY, Capsule, Stored, claim
from pipeline.debugging.copying import Wishes
from pipeline.debugging.recorded import RecordedStep
from pipeline.debugging.redirection import parameters_of
from pipeline.debugging.spec_parameters import as_the_executor_gets_them
from pipeline.errors import RunError
from pipeline.run_facts import PROJECT, without_credentials

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
class Made:
    """A capsule that was made, and what its user should know of it."""

    capsule: Capsule
    notes: tuple[str, ...]


def make(step: RecordedStep, folder: str, wishes: Wishes) -> Made:
    """Writes a step's capsule into a folder; one that is there is made anew, but for its replays.

    What is missing is noted, and the capsule made without it.

    Raises:
      RunError: the step has no executor, or the folder holds something else.
    """
    executor, parameters = _executor(step), _parameters(step)
    notes: list[str] = []
    claim(folder)
    capsule = Capsule(
        run=step.execution.run,
        step=step.execution.step,
        pipeline=step.execution.pipeline,
        execution=step.execution.id,
        state=step.execution.state,
        project=os.path.abspath(wishes.code or PROJECT),
        paths=_paths(executor),
        component=step.execution.type,
        executor=executor,
        parameters=parameters,
        redirected=parameters_of(executor),
        inputs=copying.inputs(step, folder, wishes, notes),
        outputs=copying.by_key(step.outputs, lambda found: Stored(**found.to_json(), original=found.artifact.uri)),
        facts={name: step.properties[name] for name in FACTS if name in step.properties},
        error=step.fact("error"),
        sampled=wishes.sample,
        folder=os.path.abspath(folder),
    )
    capsule.save()
    notes += _about(step)
    python = wishes.interpreter or sys.executable
    scripts = _programs(capsule, step, python, notes)
    _describe_environment(capsule, notes)
    editors.write(capsule.folder, capsule.project, python, scripts)
    storage.write_text(capsule.path("README.txt"), programs.readme(capsule, notes, scripts))
    return Made(capsule, tuple(notes))


def _about(step: RecordedStep) -> list[str]:
    """What of the attempt itself makes a replay differ from it."""
    running = step.execution.state in ("NEW", "RUNNING")
    notes = ["The step has not ended: there is nothing yet to compare a replay with."] if running else []
    for output in step.outputs:
        notes += copying.sources_since(output.artifact.properties)
    return notes


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


def _parameters(step: RecordedStep) -> dict[str, Any]:
    if "parameter_names" not in step.properties:
        return as_the_executor_gets_them(_component(step), step.properties)
    names = step.fact("parameter_names").split(",")
    return {name: step.properties[name] for name in names if name in step.properties}


def _paths(executor: str) -> tuple[str, ...]:
    """Where an executor that is neither Braid's nor a package's is imported from: the pipeline's own folder."""
    found = importlib.util.find_spec(executor.partition(".")[0])
    origin = os.path.dirname(found.origin) if found is not None and found.origin else ""
    root = os.path.dirname(origin) if found is not None and found.submodule_search_locations else origin
    installed = any(part in root for part in ("site-packages", "dist-packages"))
    return () if not root or installed or os.path.abspath(root) == PROJECT else (os.path.abspath(root),)


def _component(step: RecordedStep) -> Any:
    module, _, name = step.execution.type.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(
            f"'{step.name}' is a '{step.execution.type}', which cannot be imported here: {error}.",
            "Run `braid debug` where the pipeline's code is importable: set PYTHONPATH to its folder.",
        ) from error


def _programs(capsule: Capsule, step: RecordedStep, python: str, notes: list[str]) -> list[str]:
    """Writes the programs that replay, and what is known of a failure; returns the programs' names."""
    storage.write_text(capsule.path(REPLAY), programs.replay(capsule, python))
    for stale in (TRACEBACK, REPLAY_FAILURE):  # of another attempt whose capsule this was
        if os.path.exists(capsule.path(stale)):
            os.remove(capsule.path(stale))
    shutil.rmtree(capsule.path(failures.FOLDER), ignore_errors=True)
    told = step.fact("traceback")
    if told and storage.exists(told):
        storage.write_text(capsule.path(TRACEBACK), without_credentials(storage.read_text(told)))
    elif told:
        notes.append("The traceback of the failure was cleared.")
    kept = [uri for output in step.outputs if failures.list_failures(uri := output.artifact.uri)]
    if not kept:
        return [REPLAY]
    copying.fetch(f"{kept[0].rstrip('/')}/{failures.FOLDER}", capsule.path(failures.FOLDER))
    storage.write_text(capsule.path(REPLAY_FAILURE), programs.replay_failure(capsule, python))
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
    name = without_credentials(f"{step.execution.run}-{step.execution.step}").replace("/", "_")
    return os.path.join(workspace, "capsules", name)
