import hashlib
import importlib
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import components
from pipeline.deploy import staging
from pipeline.deploy.worker_package import STEPS
from pipeline.errors import RunError

RESOLVER = "tfx.dsl.components.common.resolver.Resolver"
TRAINER, KERAS = staging.TRAINERS


def node(kind: str, config: str = "") -> Any:
    return SimpleNamespace(id="step", type=kind, exec_properties={"config": config})


def type_of(component: type) -> str:
    """As `BaseNode.type` tells it, and ML Metadata names executions."""
    return f"{component.__module__}.{component.__qualname__}"


def test_every_component_with_a_beam_job_has_a_kind() -> None:
    from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

    modules = [found.name for found in pkgutil.walk_packages(components.__path__, "components.")]
    found = {
        type_of(each)
        for name in modules
        if name.endswith(".component")
        for each in vars(importlib.import_module(name)).values()
        if isinstance(each, type) and issubclass(each, BaseBeamComponent) and each.__module__ == name
    }
    assert found == set(staging.KINDS)
    assert set(staging.KINDS.values()) | {"evaluate_tfma"} == set(STEPS)


def test_types_are_called_so_by_tfx() -> None:
    from tfx.dsl.components.common.resolver import Resolver
    from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy

    from components.keras_trainer.component import KerasTrainer
    from components.trainer.component import Trainer

    assert (type_of(Trainer), type_of(KerasTrainer)) == (TRAINER, KERAS)
    assert Resolver(LatestArtifactStrategy).type == RESOLVER


def test_the_engine_of_an_evaluator_decides_what_it_needs() -> None:
    evaluator = "components.evaluator.component.Evaluator"
    assert staging.kind_of(node(evaluator)) == "evaluate"
    assert staging.kind_of(node(evaluator, '{"engine": "tfma"}')) == "evaluate_tfma"
    assert staging.kind_of(node("components.prepare.component.PrepareExamples")) == "prepare"


def test_a_component_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(RunError, match=r"'step', a components\.ingest\.component\.Ingst\. Did you mean 'comp.*Ingest'"):
        staging.kind_of(node("components.ingest.component.Ingst"))


@pytest.mark.parametrize(
    ("types", "recorded", "families"),
    [
        ([TRAINER], None, ["xgboost"]),
        ([TRAINER, KERAS], None, ["keras", "xgboost"]),
        ([TRAINER, RESOLVER], None, ["keras", "xgboost"]),
        ([TRAINER, RESOLVER], [TRAINER, "components.ingest.component.Ingest"], ["xgboost"]),
        ([TRAINER, RESOLVER], [KERAS], ["keras", "xgboost"]),
        ([RESOLVER], [KERAS], ["keras"]),
        ([], [KERAS], []),
    ],
)
def test_families_are_those_trained_here_and_those_that_a_champion_may_be_of(
    types: list[str], recorded: list[str] | None, families: list[str]
) -> None:
    assert staging.families_of([node(kind) for kind in types], recorded) == families


def test_a_job_stages_the_wheel_and_the_pins(tmp_path: Path) -> None:
    staged = staging.stage("prepare", ["xgboost"], str(tmp_path))
    wheel, pins, cache = (option.partition("=")[2] for option in staged.options)
    assert [option.partition("=")[0] for option in staged.options] == [
        "--extra_package",
        "--requirements_file",
        "--requirements_cache",
    ]
    assert cache == "skip"
    assert staged.facts["worker_digest"] == hashlib.sha256(Path(wheel).read_bytes()).hexdigest()
    text = Path(pins).read_text()
    assert "apache-beam==" in text and "xgboost" not in text  # no model is loaded there
    assert staged.facts["worker_requirements_digest"] == hashlib.sha256(text.encode()).hexdigest()
    assert staging.options_of(["ingest", "prepare"], [], str(tmp_path)) == staged.options


def test_with_an_image_the_wheel_alone_is_staged(tmp_path: Path) -> None:
    staged = staging.stage("score", ["xgboost"], str(tmp_path), "region-docker.pkg.dev/p/r/worker:1")
    assert [option.partition("=")[0] for option in staged.options] == ["--extra_package"]
    assert staged.facts["worker_image"] == "region-docker.pkg.dev/p/r/worker:1"
    assert (
        "xgboost" in Path(staging.stage("score", ["xgboost"], str(tmp_path)).options[1].partition("=")[2]).read_text()
    )
