"""The ML strand of the graph: from the examples that passed the gate to the pushed model."""

import os
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import channel_utils, standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from beam_jobs import storage
from components.evaluator.component import Evaluator
from components.feature_selector.component import FeatureSelector
from components.history import ChampionStrategy
from components.pusher.component import Pusher
from components.recording import to_json
from components.trainer.component import Trainer
from pipeline.config import KerasTraining, XgboostTraining
from pipeline.planning import Plan


def learning_steps(plan: Plan, examples: BaseChannel, gate: BaseNode, root: str) -> list[BaseNode]:
    """From the examples that passed the gate to the pushed model."""
    config = plan.loaded.config
    selector = FeatureSelector(examples, to_json(_selection(plan))).with_id("select")
    selector.add_upstream_node(gate)
    trainers = [_trainer(plan, trainer, examples, selector) for trainer in config.train]
    models = union([trainer.outputs["model"] for trainer in trainers])
    champion = Resolver(
        strategy_class=ChampionStrategy,
        model=Channel(type=standard_artifacts.Model),
        blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=models,
    ).with_id("champion")
    evaluator = Evaluator(
        examples, models, to_json(config.evaluate.model_dump()), baseline_model=champion.outputs["model"]
    ).with_id("evaluate")
    destination = config.push.to and storage.resolve(config.push.to, plan.loaded.folder)
    pusher = Pusher(models, destination or os.path.join(root, "serving"), evaluator.outputs["blessing"]).with_id("push")
    return [selector, *trainers, champion, evaluator, pusher]


def _trainer(
    plan: Plan, trainer: XgboostTraining | KerasTraining, examples: BaseChannel, selector: FeatureSelector
) -> Trainer:
    assert isinstance(trainer, XgboostTraining)
    step: Trainer = Trainer(examples, selector.outputs["importances"], to_json(_training(trainer))).with_id(
        trainer.train_step
    )
    return step


def union(channels: list[BaseChannel]) -> BaseChannel | None:
    """One channel of all; None of none."""
    if len(channels) < 2:
        return channels[0] if channels else None
    return channel_utils.union(channels)


def _selection(plan: Plan) -> dict[str, Any]:
    config = plan.loaded.config
    return {
        **config.select.model_dump(exclude_none=True),
        "label": config.examples.label,
        "task": config.examples.task,
        "threads": _threads(config.train[0].threads),
    }


def _training(trainer: XgboostTraining) -> dict[str, Any]:
    settings = trainer.model_dump(exclude={"parameters", "family", "tune", "name"})
    return {**settings, "params": trainer.parameters, "threads": _threads(trainer.threads)}


def _threads(asked: int) -> int:
    return asked or os.cpu_count() or 1
