"""The pipeline as a graph of TFX components, from top to bottom as the data flows."""

import os
from collections.abc import Sequence
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.types import channel_utils, standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from beam_jobs import storage
from components.arrow_statistics.component import ArrowStatistics
from components.data_gate.component import DataGate
from components.evaluator.component import Evaluator
from components.feature_selector.component import FeatureSelector
from components.history import ChampionStrategy, PreviousStrategy
from components.ingest.component import Ingest
from components.prepare.component import Prepare, PrepareExamples
from components.pusher.component import Pusher
from components.recording import to_json
from components.schema_file.component import SchemaFile
from components.schema_file.inference_mark import user_schema_digest
from components.trainer.component import Trainer
from pipeline import runs, stores
from pipeline.planning import Plan, PlannedSource, PlannedStep
from pipeline.store_address import StoreAddress


def compose(plan: Plan, root: str, store: StoreAddress, beam_args: Sequence[str]) -> Pipeline:
    """Builds the TFX pipeline.

    Args:
      plan: the checked configuration.
      root: the folder that holds all outputs.
      store: of ML Metadata; its password does not get into the pipeline.
      beam_args: Beam's pipeline options.
    """
    sources = {name: _ingest(source).with_id(name) for name, source in plan.sources.items()}
    prepared: dict[str, Prepare | PrepareExamples] = {}
    for name, step in plan.steps.items():
        prepared[name] = _prepare(step, sources, prepared)
    examples = prepared[plan.examples.name].outputs["examples"]
    checks = _checks(plan, examples)
    learning = _learning(plan, examples, checks[-1], root)
    return Pipeline(
        pipeline_name=runs.pipeline_id(plan.loaded.config.name),
        pipeline_root=root,
        components=[*sources.values(), *prepared.values(), *checks, *learning],
        enable_cache=True,
        metadata_connection_config=stores.connection_config(store.without_password(), read_only=False),
        beam_pipeline_args=list(beam_args),
    )


def _checks(plan: Plan, examples: BaseChannel) -> list[BaseNode]:
    """From the examples to the gate, which comes last."""
    statistics = ArrowStatistics(examples).with_id("statistics")
    previous = Resolver(
        strategy_class=PreviousStrategy,
        statistics=Channel(type=standard_artifacts.ExampleStatistics),
        candidate=statistics.outputs["statistics"],
    ).with_id("previous")
    schema = SchemaFile(
        statistics.outputs["statistics"], plan.schema_file, user_schema_digest(plan.schema_file)
    ).with_id("schema")
    gate = DataGate(
        statistics.outputs["statistics"],
        schema.outputs["schema"],
        to_json(_gate(plan)),
        examples=examples,
        previous_statistics=previous.outputs["statistics"],
    ).with_id("validate")
    return [statistics, previous, schema, gate]


def _learning(plan: Plan, examples: BaseChannel, gate: BaseNode, root: str) -> list[BaseNode]:
    """From the examples that passed the gate to the pushed model."""
    config = plan.loaded.config
    selector = FeatureSelector(examples, to_json(_selection(plan))).with_id("select")
    selector.add_upstream_node(gate)
    trainer = Trainer(examples, selector.outputs["importances"], to_json(_training(plan))).with_id("train")
    champion = Resolver(
        strategy_class=ChampionStrategy,
        model=Channel(type=standard_artifacts.Model),
        blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=trainer.outputs["model"],
    ).with_id("champion")
    evaluator = Evaluator(
        examples,
        trainer.outputs["model"],
        to_json(config.evaluate.model_dump()),
        baseline_model=champion.outputs["model"],
    ).with_id("evaluate")
    destination = config.push.to and storage.resolve(config.push.to, plan.loaded.folder)
    pusher = Pusher(
        trainer.outputs["model"], destination or os.path.join(root, "serving"), evaluator.outputs["blessing"]
    ).with_id("push")
    return [selector, trainer, champion, evaluator, pusher]


def _ingest(source: PlannedSource) -> Ingest:
    files = to_json([vars(file) for file in source.content.files])
    return Ingest(to_json(vars(source.config)), source.content.fingerprint, files)


def _prepare(step: PlannedStep, sources: dict[str, Ingest], prepared: dict[str, Any]) -> Prepare | PrepareExamples:
    read = step.query.tables
    component = PrepareExamples if step.split else Prepare
    node: Prepare | PrepareExamples = component(
        to_json(step.config),
        sources=_union([sources[name].outputs["table"] for name in read if name in sources]),
        prepared=_union([prepared[name].outputs["table"] for name in read if name in prepared]),
    ).with_id(step.name)
    return node


def _union(channels: list[BaseChannel]) -> BaseChannel | None:
    if len(channels) < 2:
        return channels[0] if channels else None
    return channel_utils.union(channels)


def _gate(plan: Plan) -> dict[str, Any]:
    validate = plan.loaded.config.validate_
    return {
        "anomalies": validate.anomalies,
        "max_out_of_domain_share": validate.max_out_of_domain_share,
        "drift": _bounds(validate.drift),
        "drift_from_previous": _bounds(validate.drift_from_previous),
        # Of a label without a value the FeatureSelector speaks, which knows that it is the label.
        "unused_columns": [*plan.loaded.config.select.exclude, plan.loaded.config.examples.label],
    }


def _bounds(named: dict[str, float]) -> dict[str, Any]:
    columns = dict(named)
    return {"default": columns.pop("default", None), "columns": columns}


def _selection(plan: Plan) -> dict[str, Any]:
    config = plan.loaded.config
    return {
        **config.select.model_dump(exclude_none=True),
        "label": config.examples.label,
        "task": config.examples.task,
        "threads": _threads(plan),
    }


def _training(plan: Plan) -> dict[str, Any]:
    train = plan.loaded.config.train
    return {**train.model_dump(exclude={"parameters"}), "params": train.parameters, "threads": _threads(plan)}


def _threads(plan: Plan) -> int:
    return plan.loaded.config.train.threads or os.cpu_count() or 1
