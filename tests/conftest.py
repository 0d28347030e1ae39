"""Options and fixtures that every test may use."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bucket import Bucket


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
