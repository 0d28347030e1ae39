"""Secrets that a user has around stay where they are: none gets into records, logs, pages, capsules or what jobs stage."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bucket import Bucket
from cloud.loopback_cloud import Cloud
from sales_project import SALES, Project
from secret_search import files, search

PROGRAM = Path(__file__).with_name("orchestrator.py")
GOLDEN = Path(__file__).parents[1] / "golden" / "expected"
ENVIRONMENT = {
    "BRAID_STORE_PASSWORD": "store-pa55/word+of=braid",
    "PGPASSWORD": "pg-pa55word of the store",
    "MYSQL_PWD": "mysql-pa55word-of-the-store",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED0EXAMPLE7",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPlanted0KEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luPlanted0Session//////////wE=",
    "SOME_SERVICE_TOKEN": "sk-planted-0123456789abcdef",
}
ADDRESSES = {
    "BRAID_STORE": ("postgresql://ann:{}@db.invalid/braid", "in-the-address-of-the-store"),
    "HTTPS_PROXY": ("http://ann:{}@proxy.invalid:3128", "in-the-address-of-the-proxy"),
}
DOTENV = "dotenv-planted-beside-the-configuration"
_LOOKS_LIKE_ONE = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an access token": re.compile(rb"ya29\.[\w-]{16,}"),
    "a signed token": re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "an address with a password": re.compile(rb"[a-z]\w*://[^/?#\s'\":]*:(?!PASSWORD|\d+/)[^/?#\s'\":\[\]]+@"),
}
PASSWORD = "in-the-address/of=the-source"
ADDRESSED = f"s3://AKIAPLANTED:{PASSWORD}@bucket/sales.csv"
QUERY = "SELECT id, day, amount, shop, kind"
FAILING = ("late = 1 AS late", "CAST(replace(kind, 'b', 'x') AS INT) = 1 AS late")


@dataclass
class Planted:
    """A project with secrets around it, and all that its commands have told.

    Attributes:
      secrets: by what they are.
      own: the files that hold them because the user has put them there.
    """

    project: Project
    secrets: dict[str, str]
    own: list[Path]
    told: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.project.folder / "runs.sqlite"

    def braid(self, *words: str, code: int = 0, at: bool = True) -> str:
        """Runs a command in a process of its own; what it printed."""
        place = ["--workspace", str(self.project.workspace), "--store", str(self.store)] if at else []
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *words, *place],
            cwd=self.project.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == code, done.stdout.decode()[-4_000:]
        self.told.append((f"the output of 'braid {' '.join(words)}'", done.stdout))
        return done.stdout.decode()

    def leaks(self, *more: tuple[str, bytes]) -> list[str]:
        """Where secrets stand in what was printed and written, and in `more`."""
        return search([*self.told, *files(self.project.folder, self.own), *more], self.secrets)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Secrets in the variables and files where users have them."""
    project = Project(tmp_path / "project")
    project.write("sales.csv", SALES)
    project.configure()
    own = [project.write(".env", f"TOKEN={DOTENV}\n")]
    for name, secret in ENVIRONMENT.items():
        monkeypatch.setenv(name, secret)
    for name, (address, secret) in ADDRESSES.items():
        monkeypatch.setenv(name, address.format(secret))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return Planted(
        project, {**ENVIRONMENT, **{name: secret for name, (_, secret) in ADDRESSES.items()}, ".env": DOTENV}, own
    )


def ask(planted: Planted) -> None:
    """All that shows a run, or keeps something of it."""
    folder = planted.project.folder
    planted.braid("runs", "--json")
    planted.braid("show", "latest", "--json")
    planted.braid("report", "latest", "--to", str(folder / "report.html"))
    for form in ("tree", "json", "dot", "mermaid", "openlineage", "html"):
        planted.braid("lineage", "up", "latest/train", "--format", form)
    planted.braid("lineage", "why", "latest/orders")
    planted.braid("lineage", "verify", "latest")
    planted.braid("debug", "latest/orders", "--copy", "--to", str(folder / "capsule"))


@pytest.mark.long
def test_of_a_run_here(planted: Planted) -> None:
    planted.braid("--debug", "run", "sales.yaml", "--verbose")
    ask(planted)
    assert PASSWORD not in planted.braid("score", "latest", ADDRESSED, "--to", "out", code=1)
    planted.project.configure(FAILING)
    planted.braid("--debug", "run", "sales.yaml", "--verbose", code=1)
    planted.braid("debug", "latest/orders", "--to", str(planted.project.folder / "failed"), "--shrink")
    assert (planted.project.folder / "capsule" / "replay.py").exists() and planted.store.exists()
    assert planted.leaks() == []
    assert {Path(place).name for place in places(planted, QUERY)} >= {"runs.sqlite", "capsule.json"}


def places(planted: Planted, text: str, *more: tuple[str, bytes]) -> set[str]:
    """Where a text stands that is no secret: what is there is found."""
    contents = [*files(planted.project.folder, planted.own), *more]
    found = [one.partition(" stands in ")[2] for one in search(contents, {"it": text})]
    return {one.removesuffix(" as it is") for one in found if one.endswith(" as it is")}


def key_lines(path: str) -> dict[str, str]:
    """The lines of a service account's private key: JSON has them in one string, a PEM file one below the other."""
    lines = json.loads(Path(path).read_text())["private_key"].splitlines()
    return {f"line {number} of the private key": line for number, line in enumerate(lines) if len(line) == 64}


def objects(bucket: Bucket) -> Iterator[tuple[str, bytes]]:
    for name in bucket.names:
        yield f"{bucket.url}/{name}", name.encode()
        yield f"{bucket.url}/{name}", bucket.get(name)


def submitted(cloud: Cloud) -> Iterator[tuple[str, bytes]]:
    """The jobs as the service has got them, what was staged for their workers, and what it tells of them."""
    for job in cloud.service.jobs.values():
        yield f"the request of {job.name}", json.dumps(job.request).encode()
        yield f"the messages of {job.name}", json.dumps(job.messages).encode()
        yield from ((f"{name}, staged for {job.name}", content) for name, content in job.staged.items())
        yield from files(job.folder)


@pytest.mark.long
def test_of_a_run_there(planted: Planted, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    planted.secrets |= key_lines(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    path = cloud.bucket.put("in/sales.csv", SALES)
    own = {"project": "test", "bucket": cloud.bucket.name, "endpoint": cloud.service.address, "max_workers": "2"}
    target = ["--target", "dataflow", *(word for key, value in own.items() for word in ("--set", f"{key}={value}"))]
    planted.project.configure(("path: sales.csv", f"path: '{path}'"))
    planted.braid("--debug", "check", "sales.yaml", *target, at=False)
    planted.braid("--debug", "run", "sales.yaml", *target, "--verbose")
    ask(planted)
    planted.project.configure(("path: sales.csv", f"path: '{path}'"), FAILING)
    planted.braid("--debug", "run", "sales.yaml", *target, "--verbose", code=1)
    planted.braid("debug", "latest/orders", "--copy", "--to", str(planted.project.folder / "failed"))

    tokens = cloud.service.account.tokens
    assert tokens and any(job.staged for job in cloud.service.jobs.values())
    planted.secrets |= {f"access token {number}": token for number, token in enumerate(tokens)}
    everything = [*objects(cloud.bucket), *submitted(cloud)]
    names = {place.rpartition("/")[2] for place, _ in everything}
    assert "pipeline.pb" in names and any(name.endswith(".whl") for name in names)
    assert planted.leaks(*everything) == []
    found = {place.rpartition("/")[2] for place in places(planted, QUERY, *everything)}
    assert found >= {"pipeline.pb", "runs.sqlite", "capsule.json"}  # the graph's own pickles are looked into
    shown = [*planted.told, *files(planted.project.folder, planted.own), *everything]
    tokens_told = [
        (place, what)
        for place, content in shown
        for what in ("a signed token", "an access token")
        if _LOOKS_LIKE_ONE[what].search(content)
    ]
    assert tokens_told == []


@pytest.mark.parametrize(
    "words",
    [
        ["run", "sales.yaml", "--set", f"sources.sales.path={ADDRESSED}"],
        ["run", "sales.yaml", "--overlay", "overlay.yaml"],
        ["run", "sales.yaml", "--set", f"push.to={ADDRESSED}"],
        ["run", "sales.yaml", "--set", f"root={ADDRESSED}"],
        ["run", "sales.yaml", "--target", "dataflow", "--set", "project=test", "--set", f"bucket={ADDRESSED}"],
        ["run", "sales.yaml", "--target", "target.yaml"],
        ["check", "sales.yaml", "--overlay", "overlay.yaml"],
        ["config", "sales.yaml", "--overlay", "overlay.yaml"],
        ["init", ADDRESSED],
        ["score", "latest", "sales.csv", "--to", ADDRESSED],
    ],
    ids=lambda words: " ".join(words).replace(ADDRESSED, "ADDRESS"),
)
def test_an_address_with_a_password_is_refused_and_not_repeated(planted: Planted, words: list[str]) -> None:
    project = planted.project
    own = [
        project.write("overlay.yaml", f"sources:\n  sales:\n    path: {ADDRESSED}\n"),
        project.write("target.yaml", f"runner: dataflow\nproject: test\nbucket: {ADDRESSED}\n"),
    ]
    planted.own += own
    told = planted.braid(*words, at=words[0] in ("run", "score"), code=1)
    assert "address" in told and "password" in told
    planted.secrets = {"the password": PASSWORD, "its beginning": PASSWORD[:14]}
    planted.told = [("the output", told.encode())]
    assert planted.leaks() == []


def test_golden_files_hold_nothing_that_looks_like_a_secret() -> None:
    contents = list(files(GOLDEN))
    assert len(contents) > 20
    assert [
        (place, what) for place, content in contents for what, look in _LOOKS_LIKE_ONE.items() if look.search(content)
    ] == []
    assert search(contents, ENVIRONMENT) == []
