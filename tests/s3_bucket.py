"""A bucket of S3 for tests: Amazon's own client, through Beam, against an emulator of S3 on this machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from beam_jobs import s3_client

LOOPBACK = "127.0.0.1"


@dataclass
class S3Bucket:
    """A bucket.

    Attributes:
      url: `s3://` and its name.
    """

    name: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, name: str, content: bytes | str) -> str:
        """Stores an object; returns its path."""
        self.client.put_object(
            Bucket=self.name, Key=name, Body=content.encode() if isinstance(content, str) else content
        )
        return f"{self.url}/{name}"

    def get(self, name: str) -> bytes:
        found: bytes = self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return found

    @property
    def names(self) -> list[str]:
        """All its objects, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", []))


@contextmanager
def s3_server() -> Iterator[str]:
    """Runs the emulator in this process, its objects in memory; yields its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@contextmanager
def s3_bucket(name: str, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    """Points Amazon's client of this process at the emulator, as its own variables and files do, and makes a bucket there."""
    (folder / "credentials").write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    (folder / "config").write_text("[default]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, LOOPBACK)
    s3_client.forget_client()
    try:
        s3_client.client().create_bucket(Bucket=name)
        yield S3Bucket(name, s3_client.client())
    finally:
        s3_client.forget_client()
