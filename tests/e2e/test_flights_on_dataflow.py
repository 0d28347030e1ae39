"""The flights through the service on loopback are the flights here: digests, ledgers, metrics; lineage tells which ran where."""

import re
from pathlib import Path

import pytest
import yaml
from cloud.loopback_cloud import Cloud
from sales_project import digests, latest, ledgers

from beam_jobs import storage
from pipeline.cli.main import main
from pipeline.summary import metric_rows

PROJECT = Path(__file__).parents[2]
FLIGHTS = PROJECT / "configs" / "pipelines" / "flights.yaml"


def uploaded(cloud: Cloud) -> list[str]:
    """The assignments by which the flights read their sources from the bucket."""
    words = []
    for name, source in yaml.safe_load(FLIGHTS.read_text())["sources"].items():
        path = Path(storage.resolve(source["path"], str(FLIGHTS.parent)))
        words += ["--set", f"sources.{name}.path={cloud.bucket.put(f'sources/{path.name}', path.read_bytes())}"]
    return words


@pytest.mark.long
def test_the_flights_there_are_the_flights_here(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", str(FLIGHTS), "--workspace", str(tmp_path / "here")])
    own = {"project": "test", "bucket": cloud.bucket.name, "endpoint": cloud.service.address, "max_workers": "2"}
    target = ["--target", "dataflow", *(word for key, value in own.items() for word in ("--set", f"{key}={value}"))]
    main(["run", str(FLIGHTS), *uploaded(cloud), *target, "--workspace", str(tmp_path / "there")])
    here, there = latest(tmp_path / "here"), latest(tmp_path / "there")
    assert digests(there) == digests(here)
    assert ledgers(there) == ledgers(here)
    assert metric_rows(there) == metric_rows(here) != ([], [])
    jobs = {job.request["labels"]["step"]: job.id for job in cloud.service.jobs.values()}
    recorded = {step.name: step.properties["job_id"] for step in there.steps if "job_id" in step.properties}
    assert recorded == jobs and jobs.keys() >= {"flights", "departures", "statistics", "evaluate"}
    assert {step.properties["target"] for step in there.steps} == {"dataflow"}
    capsys.readouterr()
    main(["lineage", "up", "latest/push", "--workspace", str(tmp_path / "there")])
    told = re.sub(r"[^\w,-]", "", capsys.readouterr().out)  # lines are broken and drawn
    missing = {step for step, job in jobs.items() if f"ondataflow,job{job}" not in told}
    assert missing <= {"statistics"}  # which made nothing that is in the model
