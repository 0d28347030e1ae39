"""What `braid deploy` writes, digests of the code taken out."""

import json
import re
from pathlib import Path

import pytest
from golden import Golden

from pipeline.cli.main import main

_WHEEL = re.compile(r"-0[0-9a-f]{12}-py3")
_TAG = re.compile(r":[0-9a-f]{12}\b")
CONFIG = "configs/pipelines/flights.yaml"
PLACE = ("--set", "project=my-project", "--set", "bucket=my-bucket")
SOURCES = {
    "flights": "gs://my-bucket/in/flights.csv.zip",
    "weather": "gs://my-bucket/in/weather.csv",
    "planes": "gs://my-bucket/in/planes.csv",
}


def masked(text: str) -> str:
    return _TAG.sub(":<digest>", _WHEEL.sub("-<digest>-py3", text))


@pytest.mark.parametrize("what", ["worker", "orchestrator"])
def test_images(golden: Golden, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["deploy", "image", *(["--orchestrator"] if what == "orchestrator" else [])]
    main([*words, "--folder", str(golden.workspace / what), "--set", "project=my-project"])
    made = (golden.workspace / what / "Dockerfile").read_text() + "\n" + capsys.readouterr().out
    golden.check(f"deploy-image-{what}.txt", masked(made), f"braid {' '.join(words)}")


def test_template(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for name, path in SOURCES.items() for word in ("--parameter", f"source_{name}={path}")]
    main(["deploy", "template", CONFIG, *PLACE, *given, "--folder", str(golden.workspace / "template")])
    root = golden.workspace / "template"
    files = ["image/Dockerfile", "template.json", "workflow.yaml", *_launches(root)]
    parts = [f"--- {name}\n{(root / name).read_text()}" for name in files]
    steps = json.loads((root / "image/steps.json").read_text())
    parts.append(f"--- image/steps.json: stages\n{json.dumps(steps['stages'])}\n")
    made = "\n".join([*parts, f"--- printed\n{capsys.readouterr().out}"])
    golden.check("deploy-template.txt", masked(made), f"braid deploy template {CONFIG}")


def _launches(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (root / "launches").iterdir())
