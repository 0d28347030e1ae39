"""The jobs of a pipeline's steps, made by their own executors over sampled rows, and executed with the workers' code alone."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import channel_utils
from tfx.types.artifact import Artifact

from beam_jobs.errors import BraidError, listed
from beam_jobs.table import Table
from components import encoding
from components.importances import FeatureImportance, Importances
from components.target import fit_target
from pipeline import graph
from pipeline.deploy import staging
from pipeline.planning import Plan
from pipeline.preflight.clean_interpreter import CleanInterpreter
from pipeline.preflight.finding import Finding
from pipeline.preflight.trial_runner import JobFailedError, not_made, trial_pipeline
from pipeline.store_address import StoreAddress

_PARTS = {
    "components.schema_file.component.SchemaFile": "schema",
    "components.feature_selector.component.FeatureSelector": "select",
    "components.trainer.component.Trainer": "train",
}
"""Steps without a Beam job whose outputs those with one need."""
_ROUNDS = 2
_SCHEMA_PATH = "schema_path"


class Trials:
    """Tries the jobs of one pipeline, step by step.

    Args:
      plan: the pipeline, its sources the samples.
      workers: a clean interpreter for each kind of job.
      folder: for all outputs.
      project: the source tree, which places are told from.
    """

    def __init__(self, plan: Plan, workers: Mapping[str, CleanInterpreter], folder: str, project: str) -> None:
        self._plan, self._workers, self._folder, self._project = plan, workers, folder, project
        self._outputs: dict[tuple[str, str], list[Artifact]] = {}
        self.rows: dict[str, int] = {}
        """Of each step's table, as many as came out of the samples."""

    def run(self) -> Iterator[Finding]:
        """What went wrong, step after step; a step whose inputs could not be made is told as not tried."""
        store = StoreAddress.file(os.path.join(self._folder, "metadata.sqlite"))
        composed = graph.compose(self._plan, os.path.join(self._folder, "outputs"), store, [])
        needs_schema = any(staging.KINDS.get(node.type) == "transform" for node in composed.components)
        for node in composed.components:
            if node.type in staging.KINDS:
                yield from self._try_job(node)
            elif staging.TRAINERS.get(node.type) == "keras":
                told = f"The model of '{node.id}' takes a training to make: judging one was not tried, loading its libraries was."
                yield Finding(node.id, told, "", "note")
            elif node.type in _PARTS and (needs_schema or _PARTS[node.type] != "schema"):
                yield from self._make(node)

    def _try_job(self, node: BaseNode) -> Iterator[Finding]:
        kind = staging.kind_of(node)
        inputs = self._inputs(node)
        if lacking := _lacking(kind, inputs):
            told = f"Step '{node.id}': workers can load its code; its job was not tried, as there is no {lacking} here yet."
            yield Finding(node.id, told, "", "note")
            return
        worker = self._workers[kind]
        executor = _executor(node)
        done: list[str] = []
        executor._make_beam_pipeline = lambda: trial_pipeline(worker, node.id, self._project, done.append)
        try:
            self._do(node, executor, inputs)
        except JobFailedError as failed:
            yield from failed.findings
        except BraidError as error:
            yield _on_a_sample(node.id, error)
        except Exception as error:  # whatever keeps a job from being made keeps it from being submitted
            # What a step makes here of a job that went well is this machine's business, and a sample's.
            found = not_made(error, node.id, self._project)
            yield dataclasses.replace(found, severity="warning") if done else found

    def _make(self, node: BaseNode) -> Iterator[Finding]:
        """What later jobs need of a step that runs here: as small as it may be."""
        inputs = self._inputs(node)
        if "examples" in inputs and not inputs["examples"]:
            return
        try:
            _MAKERS[_PARTS[node.type]](self, node, inputs)
        except BraidError as error:
            yield _on_a_sample(node.id, error)
        except Exception as error:  # a library's, such as of a label with one value; later jobs are told as not tried
            yield Finding(node.id, f"On sampled rows: {type(error).__name__}: {error}", "", "warning")

    def _inputs(self, node: BaseNode) -> dict[str, list[Artifact]]:
        found: dict[str, list[Artifact]] = {}
        for key, channel in node.inputs.items():
            each = channel_utils.get_individual_channels(channel)
            pairs = [(getattr(one, "producer_component_id", ""), getattr(one, "output_key", "")) for one in each]
            found[key] = [artifact for pair in pairs for artifact in self._outputs.get(pair, [])]
        return found

    def _do(
        self,
        node: BaseNode,
        executor: Any,
        inputs: Mapping[str, list[Artifact]],
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        outputs = self._artifacts(node)
        given = {key: artifacts for key, artifacts in inputs.items() if artifacts}
        executor.Do(given, outputs, {**node.exec_properties, **(changes or {})})
        for key, artifacts in outputs.items():
            self._outputs[node.id, key] = artifacts

    def _artifacts(self, node: BaseNode) -> dict[str, list[Artifact]]:
        made: dict[str, list[Artifact]] = {}
        for key, channel in node.outputs.items():
            artifact = channel.type()
            artifact.uri = os.path.join(self._folder, "outputs", node.id, key, "1")
            os.makedirs(artifact.uri, exist_ok=True)
            made[key] = [artifact]
        return made

    def schema(self, node: BaseNode, inputs: Mapping[str, list[Artifact]]) -> None:
        """The user's schema, or one inferred from the sample, which the user's folder does not get."""
        path = os.path.join(self._folder, "schema.pbtxt")
        if os.path.exists(self._plan.schema_file):
            shutil.copyfile(self._plan.schema_file, path)
        if inputs["statistics"]:
            self._do(node, _executor(node), inputs, {_SCHEMA_PATH: path})

    def select(self, node: BaseNode, inputs: Mapping[str, list[Artifact]]) -> None:
        """All columns that can be features; which of them are worth it takes a training to know."""
        config = self._plan.loaded.config
        table = Table.load(inputs["examples"][0].uri)
        target = fit_target(table, config.examples.label, config.examples.task)
        out = {config.examples.label, *config.select.exclude}
        names = [one.name for one in table.schema if one.name not in out and encoding.kind_of(one.type) is not None]
        features = tuple(FeatureImportance(name, 0.0, 0.0, 0.0, place, True, "") for place, name in enumerate(names, 1))
        outputs = self._artifacts(node)
        Importances(target.label, target.task, target.classes, features).save(outputs["importances"][0].uri)
        self._outputs[node.id, "importances"] = outputs["importances"]

    def train(self, node: BaseNode, inputs: Mapping[str, list[Artifact]]) -> None:
        """A model of two rounds, for the job that judges."""
        if not inputs["importances"]:
            return
        config = {
            **json.loads(node.exec_properties["config"] or "{}"),
            "rounds": _ROUNDS,
            "threads": 1,
            "device": "cpu",
        }
        wanted = {key: inputs[key] for key in ("examples", "importances")}
        self._do(node, _executor(node), wanted, {"config": json.dumps(config)})


_MAKERS: dict[str, Callable[[Trials, BaseNode, Mapping[str, list[Artifact]]], None]] = {
    "schema": Trials.schema,
    "select": Trials.select,
    "train": Trials.train,
}


def _executor(node: BaseNode) -> Any:
    return node.executor_spec.executor_class()


def _lacking(kind: str, inputs: Mapping[str, list[Artifact]]) -> str:
    """The inputs that a job cannot do without and that are not there; of a judging job the champion is none."""
    return listed(key.replace("_", " ") for key, found in inputs.items() if not found and not _may_lack(kind, key))


def _may_lack(kind: str, key: str) -> bool:
    return key == "baseline_model" or (kind == "prepare" and key in ("sources", "prepared"))


def _on_a_sample(step: str, error: BraidError) -> Finding:
    """A value or a count that a sample has and the whole may not, or the other way round."""
    return Finding(step, f"On sampled rows: {error}", error.hint, "warning")


def with_samples(plan: Plan, sources: Mapping[str, Any]) -> Plan:
    """The plan over the samples of its sources."""
    return dataclasses.replace(plan, sources={name: one.source for name, one in sources.items()})
