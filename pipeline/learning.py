"""The ML strand of the graph: from the examples that passed the gate to the pushed model."""

import os
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import channel_utils, standard_artifacts
from tfx.types.channel import BaseChannel, Channel

from beam_jobs import storage
from components.evaluator.component import Evaluator
from components.explainer.component import Explainer
from components.feature_selector.component import FeatureSelector
from components.history import ChampionStrategy
from components.pusher.component import Pusher
from components.recording import to_json
from components.trainer.component import Trainer
from components.transform.component import Transform
from pipeline.config import KerasTraining, XgboostTraining
from pipeline.planning import Plan


def learning_steps(plan: Plan, examples: BaseChannel, schema: BaseNode, gate: BaseNode, root: str) -> list[BaseNode]:
    """From the examples that passed the gate to the pushed model."""
    config = plan.loaded.config
    selector = FeatureSelector(examples, to_json(_selection(plan))).with_id("select")
    selector.add_upstream_node(gate)
    training = _training(plan, examples, schema, selector)
    models = union([step.outputs["model"] for step in training if "model" in step.outputs])
    champion = Resolver(
        strategy_class=ChampionStrategy,
        model=Channel(type=standard_artifacts.Model),
        blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=models,
    ).with_id("champion")
    evaluator = Evaluator(
        examples, models, to_json(config.evaluate.model_dump()), baseline_model=champion.outputs["model"]
    ).with_id("evaluate")
    blessing = evaluator.outputs["blessing"]
    after: list[BaseNode] = []
    if config.explain:
        after.append(Explainer(examples, models, to_json(config.explain.model_dump()), blessing).with_id("explain"))
    destination = config.push.to and storage.resolve(config.push.to, plan.loaded.folder)
    after.append(Pusher(models, destination or os.path.join(root, "serving"), blessing).with_id("push"))
    return [selector, *training, champion, evaluator, *after]


def _training(plan: Plan, examples: BaseChannel, schema: BaseNode, selector: FeatureSelector) -> list[BaseNode]:
    """The trainers, each after its tuner; before them the transform, where a Keras model needs it."""
    config = plan.loaded.config
    importances = selector.outputs["importances"]
    steps: list[BaseNode] = []
    if any(isinstance(trainer, KerasTraining) for trainer in config.train):
        settings = {**config.transform.model_dump(), **plan.code["transform"].parameters}
        transform = Transform(examples, importances, schema.outputs["schema"], to_json(settings)).with_id("transform")
        steps.append(transform)
    for trainer in config.train:
        own = _settings(plan, trainer)
        step = Trainer(examples, importances, to_json(own))
        steps.append(step.with_id(trainer.train_step))
    return steps


def _settings(plan: Plan, trainer: XgboostTraining | KerasTraining) -> dict[str, Any]:
    """A trainer's configuration, as its component takes it."""
    settings = trainer.model_dump(exclude={"parameters", "family", "tune"})
    settings["threads"] = _threads(trainer.threads)
    if isinstance(trainer, KerasTraining):
        return {**settings, **plan.code[trainer.train_step].parameters, "parameters": trainer.parameters}
    return {**settings, "params": trainer.parameters}


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


def _threads(asked: int) -> int:
    return asked or os.cpu_count() or 1
