"""A clean interpreter has the wheel and the pins, and nothing else that is installed here."""

import dataclasses
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.transforms import environments

from pipeline.deploy import staging
from pipeline.deploy.worker_package import WorkerPackage
from pipeline.preflight.clean_interpreter import CleanInterpreter
from pipeline.preflight.trial_runner import JobFailedError, explained, trial_pipeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> WorkerPackage:
    return staging.package_of(["prepare"], [], str(tmp_path_factory.mktemp("wheel")))


def importing(name: str) -> bytes:
    """The graph of a job that imports a module on the worker."""
    pipeline = beam.Pipeline()
    _ = pipeline | beam.Create([name], reshuffle=False) | beam.Map(lambda one: bool(__import__(one)))
    environment = environments.DockerEnvironment.from_container_image("beam")
    graph: bytes = pipeline.to_runner_api(default_environment=environment).SerializeToString()
    return graph


def test_only_the_wheel_and_the_pins_are_there(package: WorkerPackage, tmp_path: Path) -> None:
    with CleanInterpreter(package, str(tmp_path)) as worker:
        assert worker.loaded() == {}
        for name in ("duckdb", "google.cloud.storage", "beam_jobs.prepare", "sqlite3"):
            assert worker.execute(importing(name)) == "", name
        for name in (
            "tensorflow",
            "tfx",
            "click",
            "rich",
            "pipeline",
            "google.cloud.dataflow_v1beta3",
            "components",
        ):
            assert f"No module named '{name}" in worker.execute(importing(name)), name


def test_a_pin_less_is_a_module_less(package: WorkerPackage, tmp_path: Path) -> None:
    fewer = dataclasses.replace(package, pins=tuple(pin for pin in package.pins if pin.name != "duckdb"))
    with CleanInterpreter(fewer, str(tmp_path)) as worker:
        told = worker.loaded()
    found = explained(told["error"], "The code of the jobs", told["module"])
    assert "No module named 'duckdb'" in found.message and found.where.startswith("beam_jobs/")


def test_a_job_that_fails_is_told(package: WorkerPackage, tmp_path: Path) -> None:
    with CleanInterpreter(package, str(tmp_path)) as worker:
        with pytest.raises(JobFailedError) as told, trial_pipeline(worker, "halves", "/nowhere") as pipeline:
            _ = pipeline | beam.Create([0]) | beam.Map(lambda number: 1 / number)
        (found,) = told.value.findings
        assert found.severity == "refused" and "ZeroDivisionError: division by zero" in found.message
        with trial_pipeline(worker, "halves", "/nowhere") as pipeline:
            _ = pipeline | beam.Create([2]) | beam.Map(lambda number: 1 / number)


def test_what_cannot_be_pickled_is_told_by_place(package: WorkerPackage, tmp_path: Path) -> None:
    opened = (number for number in range(3))
    with CleanInterpreter(package, str(tmp_path)) as worker:
        pipeline = trial_pipeline(worker, "closure", str(Path(__file__).parent))
        with pytest.raises(Exception, match="pickle") as told:
            _ = pipeline | beam.Create([1]) | beam.Map(lambda _: next(opened))
            pipeline.run()
    from pipeline.preflight.trial_runner import not_made

    found = not_made(told.value, "closure", str(Path(__file__).parent))
    line = told.value.__traceback__
    assert line is not None and found.where.startswith(f"{Path(__file__).name}:")
    assert "'opened', a generator" in found.message
