"""Fixtures: workers' environments, and a cloud on this machine."""

import pkgutil
from collections.abc import Iterator
from pathlib import Path

import google.cloud
import pytest
from bucket import Bucket

from cloud.loopback_cloud import Cloud, loopback_cloud
from cloud.worker_package_of import package_of
from pipeline.deploy.worker_package import WorkerPackage


@pytest.fixture(scope="session")
def data_workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorkerPackage, Path]:
    """The wheel for data jobs, and Python of an environment made from its pins alone."""
    return package_of(["ingest", "prepare"], tmp_path_factory.mktemp("worker"))


@pytest.fixture
def cloud(
    bucket: Bucket,
    data_workers: tuple[WorkerPackage, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cloud]:
    """Cloud Storage, Dataflow and credentials for both; see `loopback_cloud`."""
    if not _has_client():
        pytest.skip("NOT TESTED: google-cloud-dataflow-client, which DataflowRunner submits with, is not installed.")
    with loopback_cloud(bucket, *data_workers, tmp_path / "cloud", monkeypatch) as running:
        yield running


def _has_client() -> bool:
    return "dataflow" in {module.name for module in pkgutil.iter_modules(google.cloud.__path__)}
