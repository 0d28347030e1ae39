"""Jobs that need TensorFlow's libraries, each in an environment made from its wheel's pins alone.

This process has loaded all of these libraries, as an orchestrator has, so that a graph that names more than its step
brings does not run.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import xgboost
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2

from beam_jobs.judging import JudgeExamples
from beam_jobs.kernel import PrepareConfig
from beam_jobs.score import Score
from beam_jobs.sql import check_query
from beam_jobs.table import Table
from cloud.job_service import JobService, job_service
from cloud.small_jobs import LOCAL, digest
from cloud.worker_environment import missing_modules
from cloud.worker_package_of import package_of
from components import encoding, prediction_columns
from components.arrow_statistics import profiling  # with TensorFlow Data Validation
from components.evaluator import evaluation, tfma_engine
from components.evaluator.evaluation import Candidate
from components.evaluator.rules import Rules
from components.model_contract import MODEL, ModelContract
from components.scorer import predictions
from components.transform import analysis, analysis_job
from components.transform.columns import TransformConfig
from tests.components import keras_factory
from tests.components.examples_factory import flights_like, write_examples

pytestmark = pytest.mark.long
NUMBERS = ["wind", "hour", "seats", "weekend"]
MODULE = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    wind = inputs["wind"]
    return {"wind": tft.scale_to_z_score(wind), "calm": tft.scale_to_0_1(tft.scale_to_z_score(wind * wind))}
"""


@contextmanager
def workers_for(kinds: list[str], folder: Path, families: list[str] | None = None) -> Iterator[JobService]:
    """A service whose workers have nothing but what steps of these kinds stage."""
    package, python = package_of(kinds, folder / "wheel", families or [])
    assert missing_modules(python, package.wheel, package.modules) == ""
    assert "No module named 'tfx'" in missing_modules(python, package.wheel, ("tfx",))
    with job_service(python, package.wheel, folder / "service") as running:
        yield running


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Table:
    splits = {"train": flights_like(3_000, 1), "eval": flights_like(2_000, 2)}
    return write_examples(tmp_path_factory.mktemp("examples"), splits, row_group_rows=300)


def run(job: beam.PTransform, arguments: Any) -> None:
    with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
        _ = pipeline | job


def test_statistics_are_what_they_are_here(examples: Table, tmp_path: Path) -> None:
    # Of texts that are all different, TFDV's sketch names other ones in every process.
    columns = [name for name in examples.schema.names if name != "tail"]
    with workers_for(["statistics"], tmp_path) as service:
        for name, arguments in (("here", LOCAL), ("there", service.arguments())):
            folders = {split: str(tmp_path / name / split) for split in examples.splits}
            target = profiling.Target(folders, examples.splits, True)
            run(beam.Create(profiling.plan_chunks(examples)) | profiling.Profile(columns, target), arguments)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")


@pytest.mark.parametrize("kind", ["default", "user's"])
def test_a_transform_is_what_it_is_here(examples: Table, tmp_path: Path, kind: str) -> None:
    """In one pass by Braid's own analyzers, or as many as TensorFlow Transform makes of the user's function."""
    module = tmp_path / "module.py"
    with workers_for(["transform"], tmp_path) as service:
        for name, arguments in (("here", LOCAL), ("there", service.arguments())):
            module.write_text(MODULE)
            config = TransformConfig() if kind == "default" else TransformConfig(module=str(module))
            output = str(tmp_path / name)
            plan = analysis.plan(examples, keras_factory.LATE, schema_pb2.Schema(), config, output, output)
            job = analysis_job.Analyze(plan)
            assert job.fused == (kind == "default")
            module.unlink()  # it travels as text
            run(job, arguments)
            analysis.finish(plan, job.fused)
            analysis.clean(plan)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")


def test_a_keras_model_scores_and_is_judged_as_here(tmp_path: Path) -> None:
    table, model = keras_factory.flights().table, keras_factory.flights_model()
    contract, wanted = ModelContract.load(model), prediction_columns.Wanted(("tail",))
    query = check_query("score", f"SELECT {', '.join((*contract.names, 'tail'))} FROM f", "f", {"f": table.schema})
    schema = prediction_columns.schema_of(contract, wanted, query.output)
    finishing = functools.partial(predictions.predicting, model, wanted, schema)
    with workers_for(["evaluate", "score"], tmp_path, ["keras"]) as service:
        for name, arguments in (("here", LOCAL), ("there", service.arguments())):
            config = PrepareConfig("score", query, str(tmp_path / name / "scored"), chunk_rows=600)
            run(Score(config, table, {}, finishing, schema), arguments)
            rules = Rules.parse('{"slices": ["carrier"]}')
            judged = evaluation.plan(table.schema, [Candidate("", model)], "", rules, str(tmp_path / name / "judged"))
            run(JudgeExamples(table, judged.judging), arguments)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # TFMA's own arithmetic, here and below
@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
def test_judging_by_tfma_is_what_it_is_here(examples: Table, tmp_path: Path) -> None:
    model = trained(tmp_path / "model")
    rules = Rules.parse('{"splits": ["eval"], "decide_on": "eval", "slices": ["weekend"], "engine": "tfma"}')
    reports = {}
    with workers_for(["evaluate_tfma"], tmp_path, ["xgboost"]) as service:
        for name, arguments in (
            ("here", [*LOCAL[:1], "--direct_running_mode=in_memory"]),
            ("there", service.arguments(1)),
        ):
            plan = evaluation.plan(examples.schema, [Candidate("", model)], "", rules, str(tmp_path / name))
            run(tfma_engine.JudgeWithTfma(examples, plan.judging, plan.folder, rules.decide_on), arguments)
            tfma_engine.report(examples, plan.judging, plan.folder, rules)
            reports[name] = evaluation.finish(plan).report["splits"]
    assert reports["there"] == reports["here"]
    assert reports["there"]["eval"]["overall"]["rows"] == 2_000


def trained(folder: Path) -> str:
    """A small model, as the Trainer lays it down."""
    rows = flights_like(3_000, 1)
    contract = ModelContract("binary", "late", (False, True), encoding.features_of(rows.schema, NUMBERS, {}))
    contract.save(str(folder))
    data = xgboost.DMatrix(
        encoding.matrix(rows, contract),
        encoding.labels(rows, contract),
        feature_types=contract.feature_types,
        enable_categorical=True,
    )
    xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 10).save_model(folder / MODEL)
    return str(folder)
