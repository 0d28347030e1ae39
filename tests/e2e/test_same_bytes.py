"""Two runs that nobody disturbs write the same bytes, wherever they run and with however many workers."""

import shutil
from pathlib import Path

import pytest
from sales_project import SALES, Project, contents, latest

from pipeline.cache_key import identity
from pipeline.cli.main import main
from pipeline.runs import Run

FLIGHTS = Path(__file__).parents[2] / "configs" / "pipelines" / "flights.yaml"


def identities(run: Run) -> dict[str, str]:
    """What the cache takes each output for."""
    return {
        f"{step.name}.{key}[{place}]": identity(output.type, output.properties, "unknown")
        for step in run.steps
        for key, outputs in step.outputs.items()
        for place, output in enumerate(outputs)
        if not step.is_resolver
    }


@pytest.mark.slow
def test_of_the_flights_with_any_number_of_workers(tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        workspace = tmp_path / f"by {workers}"
        main(["run", str(FLIGHTS), "--workspace", str(workspace), "--workers", str(workers)])
        found.append(latest(workspace))
    assert len(contents(found[0])) == 16
    assert contents(found[0]) == contents(found[1])
    assert identities(found[0]) == identities(found[1])


def test_in_other_folders_and_under_other_numbers(tmp_path: Path) -> None:
    """Only the manifests of sources tell where they lie, and these do not count."""
    found = []
    for name in ("one", "two"):
        project = Project(tmp_path / name)
        project.configure()
        project.write("sales.csv", SALES)
        command = ["run", str(project.folder / "sales.yaml"), "--workspace", str(project.workspace)]
        if name == "two":
            main([*command, "--to", "orders"])
            shutil.rmtree(project.workspace / "sales" / "orders")
            shutil.rmtree(project.workspace / "sales" / "sales")
        main(command)
        found.append(latest(project.workspace))
    one, two = map(contents, found)
    assert {name for name in one if one[name] != two[name]} == {"sales.table[0]", "sales.rejects[0]"}
    assert identities(found[0]) == identities(found[1])
