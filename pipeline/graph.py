"""The pipeline as a graph of TFX components, from top to bottom as the data flows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from components.arrow_statistics.component import ArrowStatistics
from components.data_gate.component import DataGate
from components.history import PreviousStrategy
from components.ingest.component import Ingest
from components.prepare.component import Prepare, PrepareExamples
from components.recording import to_json
from components.schema_file.component import SchemaFile
from components.schema_file.inference_mark import user_schema_digest
from pipeline import runs, stores
from pipeline.learning import learning_steps, union
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
    sources = {name: ingest(source).with_id(name) for name, source in plan.sources.items()}
    prepared: dict[str, Prepare | PrepareExamples] = {}
    for name, step in plan.steps.items():
        prepared[name] = _prepare(step, sources, prepared)
    examples = prepared[plan.examples.name].outputs["examples"]
    checks = _checks(plan, examples)
    learning = learning_steps(plan, examples, checks[-2], checks[-1], root)
    return Pipeline(
        pipeline_name=runs.pipeline_id(plan.loaded.config.name),
        pipeline_root=root,
        components=[*sources.values(), *prepared.values(), *checks, *learning],
        enable_cache=True,
        metadata_connection_config=stores.connection_config(store.without_password(), read_only=False),
        beam_pipeline_args=list(beam_args),
    )


def _checks(plan: Plan, examples: BaseChannel) -> list[BaseNode]:
    """From the examples to the schema and the gate, which come last."""
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


def ingest(source: PlannedSource) -> Ingest:
    """Reads a source."""
    files = to_json([vars(file) for file in source.content.files])
    return Ingest(to_json(vars(source.config)), source.content.fingerprint, files)


def table_inputs(
    names: Iterable[str], sources: Mapping[str, BaseNode], prepared: Mapping[str, BaseNode]
) -> dict[str, BaseChannel | None]:
    """The inputs of a step that reads these tables."""
    wanted = list(names)
    return {
        "sources": union([sources[name].outputs["table"] for name in wanted if name in sources]),
        "prepared": union([prepared[name].outputs["table"] for name in wanted if name in prepared]),
    }


def _prepare(
    step: PlannedStep, sources: Mapping[str, BaseNode], prepared: Mapping[str, BaseNode]
) -> Prepare | PrepareExamples:
    component = PrepareExamples if step.split else Prepare
    inputs = table_inputs(step.query.tables, sources, prepared)
    node: Prepare | PrepareExamples = component(to_json(step.config), **inputs).with_id(step.name)
    return node


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
