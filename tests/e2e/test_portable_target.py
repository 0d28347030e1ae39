"""The flights through a portable job service, two processes of workers, give what they give here, and say where they ran."""

import sys
from pathlib import Path

import pytest
from cloud.job_service import job_service
from sales_project import contents, latest

from pipeline.cli.main import main

PROJECT = Path(__file__).parents[2]
FLIGHTS = PROJECT / "configs" / "pipelines" / "flights.yaml"


@pytest.mark.long
def test_flights_on_two_processes_are_the_flights_here(tmp_path: Path) -> None:
    main(["run", str(FLIGHTS), "--workspace", str(tmp_path / "here")])
    with job_service(Path(sys.executable), str(PROJECT), tmp_path / "service") as service:
        target = ["--target", "portable", "--set", f"endpoint={service.endpoint}", "--set", "environment=process"]
        main(["run", str(FLIGHTS), *target, "--workspace", str(tmp_path / "there")])
    here, there = latest(tmp_path / "here"), latest(tmp_path / "there")
    assert contents(there) == contents(here)
    for step in here.steps:
        twin = there.step(step.name)
        assert twin is not None
        assert [o.properties.get("ledger") for outputs in step.outputs.values() for o in outputs] == [
            o.properties.get("ledger") for outputs in twin.outputs.values() for o in outputs
        ]
        if not step.is_resolver:
            assert (step.properties["runner"], step.properties["target"]) == ("FnApiRunner", "local")
            assert (twin.properties["runner"], twin.properties["target"]) == ("PortableRunner", "portable")
