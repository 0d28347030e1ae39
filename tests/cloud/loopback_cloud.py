"""Storage, Dataflow and their credentials on loopback, set up for the real clients of this process."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.options.pipeline_options import PipelineOptions
from bucket import LOOPBACK, Bucket
from google.auth.credentials import CredentialsWithRegionalAccessBoundary

from cloud.dataflow_service import DataflowService
from cloud.remote_job import Workers
from pipeline.deploy.worker_package import WorkerPackage


@dataclass(frozen=True)
class Cloud:
    """A project with one bucket and one service.

    Attributes:
      package: what jobs stage for their workers.
    """

    bucket: Bucket
    service: DataflowService
    package: WorkerPackage

    def options(self, *more: str, name: str = "braid-test") -> PipelineOptions:
        """Options to submit a job with."""
        return PipelineOptions([*self.arguments(name), *more])

    def arguments(self, name: str) -> Sequence[str]:
        """The same as arguments."""
        return (
            "--runner=DataflowRunner",
            "--project=test",
            "--region=us-central1",
            f"--job_name={name}",
            f"--temp_location={self.bucket.url}/temp",
            f"--staging_location={self.bucket.url}/staging",
            f"--dataflow_endpoint={self.service.address}",
            f"--extra_package={self.package.wheel}",
            "--max_num_workers=2",
        )


@contextmanager
def loopback_cloud(
    bucket: Bucket, package: WorkerPackage, python: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """Runs the service. Its workers have credentials of their own, as machines in the cloud do."""
    passed = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "NO_PROXY", "no_proxy")
    environment = {name: os.environ[name] for name in passed}
    service = DataflowService(folder / "jobs", Workers(python, 2, environment))
    folder.mkdir(parents=True, exist_ok=True)
    account = service.account.write(folder / "service_account.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    monkeypatch.setenv("NO_PROXY", f"{LOOPBACK},localhost")
    monkeypatch.setattr(_Credentials, "_credentials_init", False)  # Beam keeps what it first finds
    monkeypatch.setattr(_Credentials, "_credentials", None)
    # Asks a third service, which there is not here, for the regions that the account may use.
    lookup = "_is_regional_access_boundary_lookup_required"
    monkeypatch.setattr(CredentialsWithRegionalAccessBoundary, lookup, lambda _: False)
    monkeypatch.setattr(logging.getLogger("apache_beam.runners.dataflow"), "level", logging.INFO)
    with service.running():
        yield Cloud(bucket, service, package)
