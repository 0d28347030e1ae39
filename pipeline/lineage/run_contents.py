"""What one run was: its facts, its steps, and what each of them wrote or took from the cache."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.lineage import changes, naming, records
from pipeline.lineage.archive import Archive
from pipeline.lineage.records import Artifact, Execution

_ENDED = ("COMPLETE", "CACHED")


@dataclass(frozen=True)
class RunContents:
    """A run as it ended.

    Attributes:
      facts: what was recorded of the run as a whole: configuration, code, lock, Python.
      steps: the attempt that counts for each step: the last that ended well, else the last.
      outputs: what each step wrote or reused, by step and key.
    """

    name: str
    pipeline: str
    facts: Mapping[str, Any]
    steps: Mapping[str, Execution]
    outputs: Mapping[str, Mapping[str, tuple[Artifact, ...]]]

    def artifacts(self, *types: str) -> Iterator[tuple[str, Artifact]]:
        """`step.output` and the artifact, for all of these types, or for all; `step.output[1]` for a second one."""
        for step, by_key in self.outputs.items():
            for key, artifacts in by_key.items():
                for place, artifact in enumerate(artifacts):
                    if not types or artifact.type in types:
                        yield f"{step}.{key}" + (f"[{place}]" if place else ""), artifact

    @property
    def ended_early(self) -> bool:
        """Whether a step did not end well, so that those after it were not reached."""
        return any(step.state not in _ENDED for step in self.steps.values())


def contents(archive: Archive, name: str) -> RunContents:
    """Reads a run; `latest` is the newest.

    Raises:
      LineageError: there is no such run.
    """
    run, executions = naming.find_run(archive, name)
    steps: dict[str, Execution] = {}
    for execution in executions:
        known = steps.get(execution.step)
        if not execution.is_resolver and (known is None or execution.state in _ENDED or known.state not in _ENDED):
            steps[execution.step] = execution
    pipelines = [execution.pipeline for execution in executions if execution.pipeline]
    return RunContents(
        run, pipelines[0] if pipelines else "", _facts(archive, run, steps), steps, _outputs(archive, steps)
    )


def parameters_of_both(one: Execution, other: Execution) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of two executions of a step, as far as they can be compared, by dotted keys.

    Of another pipeline's step from the cache is not on record what a step adds to its parameters as it runs.
    """
    both = [one.parameters, other.parameters]
    if one.is_cached != other.is_cached and not (one.is_braids and other.is_braids):
        both = [{key: value for key, value in told.items() if key in both[0] and key in both[1]} for told in both]
    return changes.flattened(both[0]), changes.flattened(both[1])


def fact(archive: Archive, execution: Execution, name: str) -> Any:
    """A fact of an execution: its own, or its run's; None where neither was recorded."""
    if execution.is_braids and name in execution.properties:
        return execution.properties[name]
    return run_facts(archive, execution.run).get(name)


def run_facts(archive: Archive, run: str) -> dict[str, Any]:
    """What was recorded of a run as a whole; nothing for an unknown run."""
    context = archive.run(run) if run else None
    return {} if context is None else records.plain(context.properties) | records.plain(context.custom_properties)


def _facts(archive: Archive, run: str, steps: Mapping[str, Execution]) -> dict[str, Any]:
    """The run's own facts; where it has none, those that the steps that really ran agree on."""
    recorded = run_facts(archive, run)
    ran = [step.properties for step in steps.values() if step.state == "COMPLETE" and step.is_braids]
    for name in ("code_commit", "code_dirty", "lock_digest", "python", "runner", "target"):
        values = {properties[name] for properties in ran if name in properties}
        if name not in recorded and len(values) == 1:
            recorded[name] = values.pop()
    return recorded


def _outputs(archive: Archive, steps: Mapping[str, Execution]) -> dict[str, dict[str, tuple[Artifact, ...]]]:
    events = [event for event in archive.events_of_executions([e.id for e in steps.values()]) if not event.is_input]
    by_id = {artifact.id: artifact for artifact in archive.artifacts({event.artifact for event in events})}
    found: dict[str, dict[str, tuple[Artifact, ...]]] = {}
    for name, execution in steps.items():
        by_key = found.setdefault(name, {})
        for event in events:
            if event.execution == execution.id and event.artifact in by_id:
                by_key[event.key] = (*by_key.get(event.key, ()), by_id[event.artifact])
    return found
