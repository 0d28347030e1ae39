"""What the Dockerfile of the workers' image says, done word for word in a fresh environment, in which a job then runs."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.table import Table
from cloud.container_image import build
from cloud.job_service import job_service
from cloud.small_jobs import LOCAL, SPLIT, digest, prepare_job, write_tables
from pipeline.deploy import image

pytestmark = pytest.mark.long


def test_a_job_runs_in_the_workers_image(tmp_path: Path) -> None:
    context = image.write_worker(str(tmp_path / "context"), ["ingest", "prepare"], [])
    built = build(Path(context.folder), tmp_path / "image", literal=True)
    assert built.base.startswith("apache/beam_python3.11_sdk:")
    assert built.site is None  # Braid is among the packages
    tables = write_tables(tmp_path / "sources")
    with job_service(built.python, "", tmp_path / "service") as service:
        for name, arguments in (("here", LOCAL), ("there", service.arguments())):
            with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
                _ = pipeline | prepare_job(tables, str(tmp_path / name), split=SPLIT)
    assert digest(tmp_path / "there") == digest(tmp_path / "here")
    assert set(Table.load(str(tmp_path / "there")).splits) == {"train", "eval"}
