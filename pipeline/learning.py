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
from components.keras_trainer.component import KerasTrainer
from components.pusher.component import Pusher
from components.recording import to_json
from components.reused_hyperparameters import reused_hyperparameters
from components.trainer.component import Trainer
from components.transform.component import Transform
from components.tuned_runs import Reuse
from components.tuner.component import Tuner
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
    graph: BaseChannel | None = None
    if any(isinstance(trainer, KerasTraining) for trainer in config.train):
        settings = {**config.transform.model_dump(), **plan.code["transform"].parameters}
        transform = Transform(examples, importances, schema.outputs["schema"], to_json(settings)).with_id("transform")
        graph = transform.outputs["transform_graph"]
        steps.append(transform)
    for trainer in config.train:
        tuner = _tuner(plan, trainer, examples, importances, graph)
        parameters = tuner.outputs["hyperparameters"] if tuner else None
        own = to_json(_settings(plan, trainer))
        if isinstance(trainer, KerasTraining):
            assert graph is not None
            step: BaseNode = KerasTrainer(examples, importances, graph, own, parameters)
        else:
            step = Trainer(examples, importances, own, parameters)
        steps += [*([tuner] if tuner else []), step.with_id(trainer.train_step)]
    return steps


def _tuner(
    plan: Plan,
    trainer: XgboostTraining | KerasTraining,
    examples: BaseChannel,
    importances: BaseChannel,
    graph: BaseChannel | None,
) -> BaseNode | None:
    """What gives the trainer its parameters: a search, or an earlier one's result."""
    if trainer.tune is None:
        return None
    if trainer.tune.reuse:
        return reused_hyperparameters(Reuse(trainer.tune.reuse, trainer.tune_step, trainer.family))
    search = {**trainer.tune.model_dump(exclude={"reuse"}), "family": trainer.family}
    # A trainer's name is none of the search's business: it would make another search of the same one.
    search["trainer"] = {key: value for key, value in _settings(plan, trainer).items() if key != "name"}
    graph = graph if isinstance(trainer, KerasTraining) else None
    tuner: Tuner = Tuner(examples, importances, to_json(search), graph).with_id(trainer.tune_step)
    return tuner


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
