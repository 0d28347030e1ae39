"""An environment made from a wheel's pins alone imports all of the wheel, and runs its jobs.

Jobs that ingest and prepare are run so by `test_portable_jobs`, those that need TensorFlow by `test_tensorflow_workers`.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import xgboost
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.judgement import Question
from beam_jobs.judging import JudgeExamples, Judging
from beam_jobs.kernel import PrepareConfig
from beam_jobs.score import Score
from beam_jobs.sql import check_query
from beam_jobs.table import Table
from cloud.job_service import JobService, job_service
from cloud.small_jobs import LOCAL, digest
from cloud.worker_environment import missing_modules
from cloud.worker_package_of import package_of
from components import encoding, prediction_columns
from components.evaluator import evaluation
from components.model_contract import MODEL, ModelContract
from components.scorer import predictions
from pipeline.deploy.worker_package import WorkerPackage
from tests.components.examples_factory import flights_like, write_examples

pytestmark = pytest.mark.long
CARRIERS = ("UA", "AA", "DL", "EV", "F9")
FEATURES = ["wind", "hour", "carrier", "weekend"]
QUERY = "SELECT wind, hour, carrier, weekend, tail FROM flights WHERE tail <> 'N00000007'"


@pytest.fixture(scope="module")
def model_workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorkerPackage, Path]:
    """For jobs that use XGBoost's models."""
    return package_of(["evaluate", "score"], tmp_path_factory.mktemp("model_worker"), ["xgboost"])


@pytest.fixture(scope="module")
def service(
    model_workers: tuple[WorkerPackage, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JobService]:
    package, python = model_workers
    with job_service(python, package.wheel, tmp_path_factory.mktemp("model_service")) as running:
        yield running


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Table:
    splits = {"train": flights_like(3_000, 1), "eval": flights_like(2_000, 2)}
    return write_examples(tmp_path_factory.mktemp("examples"), splits, row_group_rows=300)


@pytest.fixture(scope="module")
def model(examples: Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model, as the Trainer lays it down."""
    rows, folder = flights_like(3_000, 1), tmp_path_factory.mktemp("model")
    contract = ModelContract(
        "binary", "late", (False, True), encoding.features_of(rows.schema, FEATURES, {"carrier": CARRIERS})
    )
    contract.save(str(folder))
    matrix = encoding.matrix(rows, contract)
    labels, types = encoding.labels(rows, contract), contract.feature_types
    data = xgboost.DMatrix(matrix, labels, feature_types=types, enable_categorical=True)
    xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 10).save_model(folder / MODEL)
    return str(folder)


@pytest.mark.parametrize("workers", ["data_workers", "model_workers"])
def test_every_module_of_the_wheel_is_imported(workers: str, request: pytest.FixtureRequest) -> None:
    package, python = request.getfixturevalue(workers)
    assert missing_modules(python, package.wheel, package.modules) == ""


@pytest.mark.parametrize("module", ["tfx", "tensorflow", "ml_metadata", "pipeline", "components.prepare.executor"])
def test_workers_have_neither_tfx_nor_the_pipeline(data_workers: tuple[WorkerPackage, Path], module: str) -> None:
    package, python = data_workers
    assert "ModuleNotFoundError: No module named" in missing_modules(python, package.wheel, (module,))


def run(job: beam.PTransform, arguments: Any) -> None:
    with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
        _ = pipeline | job


def test_scoring_gives_what_it_gives_here(service: JobService, examples: Table, model: str, tmp_path: Path) -> None:
    query = check_query("score", QUERY, "flights", {"flights": examples.schema})
    contract, wanted = ModelContract.load(model), prediction_columns.Wanted(("tail",), contributions=True)
    schema = prediction_columns.schema_of(contract, wanted, query.output)
    finishing = functools.partial(predictions.predicting, model, wanted, schema)
    for name, arguments in (("here", LOCAL), ("there", service.arguments())):
        config = PrepareConfig("score", query, str(tmp_path / name), chunk_rows=600)
        run(Score(config, examples, {}, finishing, schema), arguments)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")
    assert Table.load(str(tmp_path / "there")).ledger.written == 4_998


def test_judging_gives_what_it_gives_here(service: JobService, examples: Table, model: str, tmp_path: Path) -> None:
    for name, arguments in (("here", LOCAL), ("there", service.arguments())):
        judging = Judging(
            job="evaluator",
            question=Question("binary", "late", ("False", "True"), ("eval",)),
            models={"xgboost": functools.partial(evaluation._load, model)},
            columns=ModelContract.load(model).columns,
            slices=(("carrier",),),
            output=str(tmp_path / name / "metrics.json"),
        )
        run(JudgeExamples(examples, judging), arguments)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")
