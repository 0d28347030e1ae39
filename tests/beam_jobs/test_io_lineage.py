"""What Beam is told of the files that a job reads and writes, and what comes back."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import apache_beam as beam
import pytest
from apache_beam.metrics import metric

from beam_jobs import io_lineage

if TYPE_CHECKING:
    from bucket import Bucket

IN_PROCESS = ("--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=4")
OVER_THE_WIRE = (
    "--runner=PortableRunner",
    "--job_endpoint=embed",
    "--environment_type=beam:env:embedded_python:v1",
)


class Copy(beam.DoFn):
    """Says that it reads a file and writes another."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def process(self, number: int) -> Iterator[int]:
        io_lineage.reads(f"{self.folder}/in {number}.v1.csv")
        io_lineage.writes(f"{self.folder}/out/part-{number:06d}.parquet")
        yield number


def copied(folder: str, files: int, arguments: tuple[str, ...] = IN_PROCESS) -> tuple[list[str], list[str]]:
    with beam.Pipeline(argv=[*arguments, "--sdk_container_image=none"]) as pipeline:
        _ = pipeline | beam.Create(range(files)) | beam.Reshuffle() | beam.ParDo(Copy(folder))
    return io_lineage.sources(pipeline.result), io_lineage.sinks(pipeline.result)


def test_the_files_of_every_worker_are_named() -> None:
    """Beam's own query gives those of one worker."""
    sources, sinks = copied("/data", 60)
    assert sources == sorted(f"/data/in {number}.v1.csv" for number in range(60))
    assert sinks == [f"/data/out/part-{number:06d}.parquet" for number in range(60)]


def test_of_many_files_the_folder_is_named() -> None:
    sources, sinks = copied("/data", 400)
    assert sources == ["/data/*"]
    assert sinks == ["/data/out/*"]


def test_a_runner_over_the_wire() -> None:
    assert copied("/data", 1, OVER_THE_WIRE) == (["/data/in 0.v1.csv"], ["/data/out/part-000000.parquet"])


def test_objects_of_a_bucket_are_named_as_they_are_opened(bucket: "Bucket") -> None:
    sources, sinks = copied(f"{bucket.url}/table", 3)
    assert sources == [f"{bucket.url}/table/in {number}.v1.csv" for number in range(3)]
    assert sinks == [f"{bucket.url}/table/out/part-{number:06d}.parquet" for number in range(3)]


def test_outside_a_job_nothing_happens() -> None:
    io_lineage.reads("/data/in.csv")
    io_lineage.writes("/data/out.csv")


@pytest.mark.parametrize(
    ("segments", "rolled_up", "path"),
    [
        (("filesystem:", "localhost.", "/", "data/", "a.b c.csv"), False, "/data/a.b c.csv"),
        (("filesystem:", "localhost.", "/", "data/"), True, "/data/*"),
        (("gcs:", "my.bucket.", "table/", "a.csv"), False, "gs://my.bucket/table/a.csv"),
        (("s3:", "bucket.", "table/"), True, "s3://bucket/table/*"),
        (("s3:",), True, "s3:*"),
        (("abs:", "account.", "container.", "a.csv"), False, "abs:account.container.a.csv"),
        ((), True, "*"),
    ],
)
def test_beams_names_as_paths(segments: tuple[str, ...], rolled_up: bool, path: str) -> None:
    assert io_lineage._path(*segments, rolled_up=rolled_up) == path


def test_a_result_without_such_metrics_names_nothing() -> None:
    """Dataflow's answer holds counters, distributions and gauges alone."""

    class Counted:
        def metrics(self) -> object:
            return self

        def query(self, _: object) -> dict[str, list[object]]:
            return {metric.MetricResults.COUNTERS: []}

    assert io_lineage.sources(Counted()) == []
