"""Options and fixtures that every test may use."""

import os
import pkgutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import pytest

# Before anything imports TensorFlow, as the command line does: tensorflow-transform's layer needs Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

if TYPE_CHECKING:
    from pathlib import Path

    from bucket import Bucket
    from cloud.loopback_cloud import Cloud
    from s3_bucket import S3Bucket
    from servers import StoreServer

    from pipeline.deploy.worker_package import WorkerPackage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew-golden", action="store_true", help="Write the golden files instead of comparing with them."
    )


@pytest.fixture
def renew_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--renew-golden"))


@pytest.fixture(scope="session")
def storage_address() -> Iterator[str]:
    """The address of an emulator of Cloud Storage on this machine."""
    from bucket import storage_server

    with storage_server() as address:
        yield address


@pytest.fixture
def bucket(
    storage_address: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[Bucket]":
    """An empty bucket; see `bucket.storage_bucket`."""
    from bucket import storage_bucket

    name = f"braid-{uuid.uuid4().hex[:8]}"
    with storage_bucket(name, storage_address, tmp_path_factory.mktemp("credentials"), monkeypatch) as made:
        yield made


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of an emulator of S3 on this machine."""
    from s3_bucket import s3_server

    with s3_server() as address:
        yield address


@pytest.fixture
def s3_bucket(
    s3_address: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[S3Bucket]":
    """An empty bucket of S3; see `s3_bucket.s3_bucket`."""
    from s3_bucket import s3_bucket

    name = f"braid-{uuid.uuid4().hex[:8]}"
    with s3_bucket(name, s3_address, tmp_path_factory.mktemp("credentials"), monkeypatch) as made:
        yield made


@pytest.fixture(scope="session")
def postgresql_server() -> "Iterator[StoreServer]":
    """PostgreSQL on this machine, for the tests alone; see `servers`."""
    import servers

    yield from _served(servers.postgresql_server)


@pytest.fixture(scope="session")
def mysql_server() -> "Iterator[StoreServer]":
    """MariaDB on this machine, for the tests alone; see `servers`."""
    import servers

    yield from _served(servers.mysql_server)


def _served(server: "Callable[[], AbstractContextManager[StoreServer]]") -> "Iterator[StoreServer]":
    from debian_packages import NotAvailableError

    with ExitStack() as stack:
        try:
            running = stack.enter_context(server())
        except NotAvailableError as reason:
            pytest.skip(f"NOT TESTED: no server can be run here. {reason}")
        yield running


@pytest.fixture(params=["postgresql", "mysql"])
def store_server(request: pytest.FixtureRequest) -> "StoreServer":
    """Each kind of server in turn."""
    found: StoreServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(scope="session")
def data_workers(tmp_path_factory: pytest.TempPathFactory) -> "tuple[WorkerPackage, Path]":
    """The wheel for data jobs, and Python of an environment made from its pins alone."""
    from cloud.worker_package_of import package_of

    return package_of(["ingest", "prepare"], tmp_path_factory.mktemp("worker"))


@pytest.fixture
def cloud(
    bucket: "Bucket",
    data_workers: "tuple[WorkerPackage, Path]",
    tmp_path: "Path",
    monkeypatch: pytest.MonkeyPatch,
) -> "Iterator[Cloud]":
    """Cloud Storage, Dataflow and credentials for both; see `loopback_cloud`."""
    import google.cloud
    from cloud.loopback_cloud import loopback_cloud

    if "dataflow" not in {module.name for module in pkgutil.iter_modules(google.cloud.__path__)}:
        pytest.skip("NOT TESTED: google-cloud-dataflow-client, which DataflowRunner submits with, is not installed.")
    with loopback_cloud(bucket, *data_workers, tmp_path / "cloud", monkeypatch) as running:
        yield running
