"""Checks that need neither a bucket nor TFX."""

import datetime
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from pipeline.deploy.worker_package import PROJECT
from pipeline.deploy.worker_pins import Pin, read_lock
from pipeline.errors import ConfigError
from pipeline.preflight import lock, machine_types, options, template_parameters, wheel_tags, worker_python
from pipeline.preflight.bucket_access import contains
from pipeline.preflight.finding import Finding, PreflightError, sorted_findings
from pipeline.preflight.machine_types import Machine
from pipeline.targets.target import Dataflow

LOCK = Path(PROJECT) / "lock"


def service(**keys: object) -> Dataflow:
    return Dataflow.model_validate({"runner": "dataflow", "project": "my-project", "bucket": "a-bucket", **keys})


def told(findings: Iterable[Finding]) -> dict[str, str]:
    return {one.where: one.message for one in findings}


@pytest.mark.parametrize(
    ("location", "region", "inside"),
    [
        ("US", "us-central1", True),
        ("US", "northamerica-northeast1", False),
        ("EU", "europe-west1", True),
        ("EU", "europe-west2", False),
        ("EU", "us-central1", False),
        ("ASIA", "asia-east1", True),
        ("US-CENTRAL1", "us-central1", True),
        ("EUROPE-WEST1", "us-central1", False),
        ("NAM4", "us-east1", True),
        ("EUR4", "europe-west1", False),
        ("US-EAST1+US-WEST1", "us-west1", True),
    ],
)
def test_locations_contain_regions(location: str, region: str, inside: bool) -> None:
    assert contains(location, region) is inside


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("n2-standard-4", Machine(4, 16)),
        ("n1-standard-2", Machine(2, 7.5)),
        ("e2-small", Machine(2, 2)),
        ("n2-custom-8-16384", Machine(8, 16)),
        ("custom-2-3072", Machine(2, 3)),
        ("n2-standard-5", None),
        ("z9-huge-4", None),
    ],
)
def test_machines_by_the_name_of_their_type(name: str, machine: Machine | None) -> None:
    assert machine_types.machine(name) == machine


def test_files_of_rates_say_when_and_by_whom() -> None:
    for file in (Path(PROJECT) / "configs" / "rates").glob("*.yaml"):
        rates = yaml.safe_load(file.read_text())
        assert isinstance(rates["date"], datetime.date) and rates["source"], file


def test_the_lock_of_this_tree_is_sound() -> None:
    pins = read_lock(str(LOCK / "requirements.txt"))
    assert list(lock.check(str(LOCK), pins, pins.values())) == []
    assert list(wheel_tags.check(pins.values(), str(LOCK / "requirements.txt"))) == []


def test_other_versions_than_the_locks_are_told(tmp_path: Path) -> None:
    shutil.copytree(LOCK, tmp_path / "lock")
    pins = [Pin("duckdb", "0.0.1", (), frozenset()), Pin("no-such-package", "1", (), frozenset())]
    found = told(lock.check(str(tmp_path / "lock"), read_lock(str(LOCK / "requirements.txt")), pins))
    assert next(message for where, message in found.items() if "duckdb==0.0.1" in where).endswith(
        "and 0.0.1 on workers."
    )
    assert next(message for where, message in found.items() if "no-such-package==1" in where).endswith(
        "not installed here."
    )


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("# uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28\n", ""),
        ("# uv pip compile --python-platform x86_64-manylinux_2_39\n", "which Beam's image"),
        ("# uv pip compile --python-platform aarch64-manylinux_2_28\n", "which Beam's image"),
        ("# uv pip compile --python-platform macos\n", "resolved for 'macos'"),
        ("# by hand\n", "does not say which platform"),
    ],
)
def test_the_locks_platform_must_be_the_workers(tmp_path: Path, head: str, says: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(head)
    found = list(wheel_tags.check([], str(path)))
    assert [one for one in found if says in one.message] == found
    assert bool(found) == bool(says)


@pytest.mark.parametrize(
    ("image", "wrong"),
    [
        ("", ()),
        ("apache/beam_python3.11_sdk:2.77.0", ()),
        ("apache/beam_python3.10_sdk:2.77.0", ("has Python 3.10",)),
        ("apache/beam_python3.11_sdk:2.70.0", ("has Beam 2.70.0",)),
        ("eu.gcr.io/p/worker-python311:7", ()),
    ],
)
def test_the_python_and_the_beam_of_an_image(image: str, wrong: tuple[str, ...]) -> None:
    pins = {"apache-beam": Pin("apache-beam", "2.77.0", (), frozenset())}
    path = str(LOCK / "requirements.txt")
    found = [one.message for one in worker_python.check(service(image=image), path, pins, (3, 11))]
    assert len(found) == len(wrong) and all(part in one for part, one in zip(wrong, found, strict=True))


def test_the_python_of_an_unknown_image_is_noted_and_ours_must_be_the_locks() -> None:
    path = str(LOCK / "requirements.txt")
    (note,) = worker_python.check(service(image="eu.gcr.io/p/worker:7"), path, {}, (3, 11))
    assert (note.severity, note.where) == ("note", "image")
    (found,) = worker_python.check(service(), path, {}, (3, 12))
    assert found.severity == "refused" and "this is Python 3.12" in found.message


def test_options_are_told_by_key_with_the_nearest() -> None:
    target = service(
        worker_type="n2-standrd-4",
        subnetwork="regions/europe-west1/subnetworks/a",
        public_ips=False,
        service_account="me",
        options={"autoscaling_algoritm": "NONE"},
        steps={"departurs": {"max_workers": 3}},
    )
    found = told(options.check(target, ["departures"]))
    assert set(found) == {
        "worker_type",
        "subnetwork",
        "public_ips",
        "service_account",
        "options.autoscaling_algoritm",
        "steps.departurs",
    }
    assert "Did you mean 'n2-standard-4'?" in found["worker_type"]
    assert "Did you mean 'autoscaling_algorithm'?" in found["options.autoscaling_algoritm"]
    assert "Did you mean 'departures'?" in found["steps.departurs"]


def test_what_beams_own_client_would_refuse_is_refused() -> None:
    assert list(options.check(service(), None)) == []
    assert "Invalid Project ID (My Project)" in told(options.check(service(project="My Project"), None))["project"]
    assert "no bucket's name" in told(options.check(service(bucket="Upper"), None))["bucket"]


def test_parameters_of_a_template(tmp_path: Path) -> None:
    metadata = {"parameters": [{"name": "config", "helpText": "The file.", "regexes": ["^gs://.+$", "("]}]}
    found = list(template_parameters.check(metadata, {"config": "gs://b/x"}, "t.json"))
    assert [one.message for one in found] == [
        "The template's pattern '(' for 'config' is none: missing ), unterminated subpattern at position 0."
    ]
    path = tmp_path / "t.json"
    for content, says in (
        ("{", "is no JSON"),
        ("[]", "is no Flex Template"),
        ('{"metadata": {}}', "lists no parameters"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=says):
            template_parameters.read_metadata(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        template_parameters.read_metadata(str(tmp_path / "none.json"))


def test_an_error_tells_all_refusals() -> None:
    findings = sorted_findings(
        [Finding("b", "Warn.", "", "warning"), Finding("a", "No.", "Do."), Finding("a", "No.", "Do.")]
    )
    assert [one.where for one in findings] == ["a", "b"]
    error = PreflightError(findings)
    assert str(error) == "1 thing would fail on the service:\n- a: No.\n  Do."
    assert error.__reduce__() == (PreflightError, (tuple(findings),))
