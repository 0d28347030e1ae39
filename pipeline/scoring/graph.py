"""A scoring run as a graph of TFX components."""

from collections.abc import Sequence

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.history import RecordedStrategy
from components.prepare.component import Prepare
from components.recording import to_json
from components.scorer.component import Scorer
from components.table_check.component import TableCheck
from pipeline import runs, stores
from pipeline.graph import ingest, table_inputs
from pipeline.scoring.planning import ScoringPlan
from pipeline.store_address import StoreAddress

TRAINED, CHECK, SCORE = "trained", "check", "score"
_TYPES = {
    "model": standard_artifacts.Model,
    "statistics": standard_artifacts.ExampleStatistics,
    "schema": standard_artifacts.Schema,
}


def step_named(name: str, plan: ScoringPlan) -> str:
    """A step's id; a table of the user's may bear its name."""
    taken = {*plan.tables, *(config["step"] for config in plan.steps)}
    return f"{name}_" if name in taken else name


def compose(plan: ScoringPlan, root: str, store: StoreAddress, beam_args: Sequence[str]) -> Pipeline:
    """Builds the TFX pipeline.

    Args:
      plan: the scoring run.
      root: the folder that holds all outputs.
      store: of ML Metadata; its password does not get into the pipeline.
      beam_args: Beam's pipeline options.
    """
    tables = {step: ingest(table).with_id(step) for step, table in plan.tables.items()}
    prepared: dict[str, Prepare] = {}
    for config in plan.steps:
        name = config["step"]
        inputs = table_inputs(plan.reads[name], tables, prepared)
        prepared[name] = Prepare(to_json(config), **inputs).with_id(name)
    trained = _trained(plan)
    inputs = table_inputs(plan.adapted.final.tables, tables, prepared)
    checks: list[BaseNode] = []
    if plan.check is not None:
        outputs = trained.outputs
        check = TableCheck(to_json(plan.check), outputs["statistics"], outputs["schema"], **inputs)
        checks.append(check.with_id(step_named(CHECK, plan)))
    scorer = Scorer(trained.outputs["model"], to_json(plan.scoring), **inputs).with_id(step_named(SCORE, plan))
    for node in checks:
        scorer.add_upstream_node(node)
    return Pipeline(
        pipeline_name=runs.pipeline_id(plan.name),
        pipeline_root=root,
        components=[*tables.values(), *prepared.values(), trained, *checks, scorer],
        enable_cache=True,
        metadata_connection_config=stores.connection_config(store.without_password(), read_only=False),
        beam_pipeline_args=list(beam_args),
    )


def _trained(plan: ScoringPlan) -> Resolver:
    """The model and what it was trained on, as the run that trained it has recorded them."""
    ids = {"model": plan.found.id, "statistics": plan.statistics, "schema": plan.schema}
    found = {key: id_ for key, id_ in ids.items() if id_}
    channels = {key: Channel(type=_TYPES[key]) for key in found}
    resolver: Resolver = Resolver(RecordedStrategy, {"ids": to_json(found)}, **channels).with_id(
        step_named(TRAINED, plan)
    )
    return resolver
