"""Twelve faults that would show on a worker after minutes, planted as they happen: `braid check` names each before the run."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bucket import Bucket, lacking
from sales_project import SALES, Braid, Outcome, Project

from pipeline.deploy.worker_package import PROJECT

pytestmark = pytest.mark.long
SECONDS = 30
"""Of computing, in all processes together: what a check may take on a quiet machine with one core."""
ENVIRONMENT = ("PATH", "HOME", "STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT")


@dataclass
class Checked:
    """A command's answer."""

    code: int
    findings: list[dict[str, str]]
    estimate: Any

    def refusal(self, where: str) -> dict[str, str]:
        """The refusal at a place."""
        found = [one for one in self.findings if one["severity"] == "refused" and where in one["where"]]
        assert found, f"nothing is refused at '{where}', but: {json.dumps(self.findings, indent=1)}"
        return found[0]

    @property
    def refused(self) -> list[str]:
        return [one["where"] for one in self.findings if one["severity"] == "refused"]


Check = Callable[..., Checked]


def computed() -> float:
    """Seconds of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


@contextmanager
def in_time() -> Iterator[None]:
    """Around one check."""
    began = computed()
    yield
    assert computed() - began < SECONDS


@pytest.fixture
def remote(bucket: Bucket, project: Project) -> Project:
    """The project with its table of sales in the bucket."""
    (project.folder / "sales.csv").unlink()
    project.configure(("path: sales.csv", f"path: {bucket.put('sources/sales.csv', SALES)}"))
    return project


def arguments(bucket: Bucket, *more: str) -> list[str]:
    target = ["--target", "dataflow", "--set", "project=my-project", "--set", f"bucket={bucket.name}"]
    return ["check", "sales.yaml", "--workspace", "ws", *target, "--json", *more]


def answered(outcome: Outcome) -> Checked:
    assert outcome.out, outcome.err
    told = json.loads(outcome.out)
    assert told["refused"] == (outcome.code == 1), outcome
    return Checked(outcome.code, told["findings"], told["estimate"])


@pytest.fixture
def check(braid: Braid, bucket: Bucket, remote: Project) -> Check:
    """Runs the command in this process."""

    def command(*more: str) -> Checked:
        with in_time():
            return answered(braid(*arguments(bucket, *more)))

    return command


@dataclass
class SourceTree:
    """A copy of Braid's sources that a fault is planted in, and that the command is run from."""

    folder: Path
    bucket: Bucket
    cwd: Path

    def change(self, file: str, old: str, new: str) -> int:
        """Replaces a text that is there once; returns the line where it is."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} does not hold {old!r} once"
        path.write_text(text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    def git(self, *words: str) -> None:
        settings = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", self.folder, *settings, *words], check=True, capture_output=True)

    def check(self, *more: str, before: Path | None = None) -> Checked:
        """Runs the command as a process of its own.

        Args:
          before: a folder of packages that comes before the installed ones.
        """
        kept = {name: os.environ[name] for name in (*ENVIRONMENT, "NO_PROXY", "no_proxy") if name in os.environ}
        path = os.pathsep.join(str(one) for one in (self.folder, before) if one)
        with in_time():
            done = subprocess.run(
                [sys.executable, "-m", "pipeline.cli.main", *arguments(self.bucket, *more)],
                env={**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=self.cwd,
                capture_output=True,
                text=True,
                check=False,
            )
        return answered(Outcome(done.returncode, done.stdout, done.stderr))


@pytest.fixture
def tree(tmp_path: Path, bucket: Bucket, remote: Project) -> SourceTree:
    folder = tmp_path / "braid"
    for name in ("beam_jobs", "components", "pipeline", "configs", "lock"):
        shutil.copytree(Path(PROJECT) / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return SourceTree(folder, bucket, remote.folder)


def test_a_sound_project_is_let_through(check: Check, bucket: Bucket) -> None:
    told = check()
    assert (told.code, told.refused) == (0, []), told.findings
    low, high = told.estimate["cost"]
    assert 0 < low < high < 5
    assert [job["step"] for job in told.estimate["jobs"]] == ["sales", "orders", "statistics", "evaluate"]
    assert bucket.names == ["sources/sales.csv"], "the check has left something"


def test_unpicklable_closure(tree: SourceTree) -> None:
    tree.change(
        "beam_jobs/fused.py",
        "        # Copies of a row need",
        "        self.opened = duck.connect([])\n        # Copies of a row need",
    )
    text = (tree.folder / "beam_jobs/fused.py").read_text()
    line = text[: text.index("class RunChunk")].count("\n") + 1
    found = tree.check().refusal(f"beam_jobs/fused.py:{line}")
    assert "Step 'orders'" in found["message"] and "'opened', a DuckDBPyConnection" in found["message"]


def test_module_missing_from_the_wheel(tree: SourceTree) -> None:
    """Computed at run time, so that only who runs the job meets it."""
    loop = "    for name, table in tables.items():\n        put("
    imports = "    __import__('importlib').import_module('.'.join(['pipeline', 'terminal']))\n"
    line = tree.change("beam_jobs/broadcast.py", loop, imports + loop)
    found = tree.check().refusal(f"beam_jobs/broadcast.py:{line}")
    assert "Step 'orders'" in found["message"] and "No module named 'pipeline'" in found["message"]


def test_wrong_wheel_platform(tree: SourceTree, tmp_path: Path) -> None:
    import duckdb

    (installed,) = Path(duckdb.__file__).parents[1].glob("duckdb-*.dist-info")
    about = tmp_path / "site-packages" / installed.name
    shutil.copytree(installed, about)
    wheel = (about / "WHEEL").read_text()
    lines = [line for line in wheel.splitlines() if not line.startswith("Tag:")]
    (about / "WHEEL").write_text("\n".join([*lines, "Tag: cp311-cp311-manylinux_2_39_x86_64", ""]))
    found = tree.check(before=about.parent).refusal("duckdb==")
    assert found["where"].startswith("lock/requirements.txt: duckdb==")
    assert "it needs glibc 2.39" in found["message"] and "glibc 2.36" in found["message"]


@pytest.mark.parametrize("admitted", [True, False])
def test_missing_permission(check: Check, bucket: Bucket, admitted: bool) -> None:
    with lacking(bucket, "storage.objects.create", admitted):
        told = check()
    found = told.refusal("bucket")
    assert "storage.objects.create" in found["message"] and bucket.name in found["message"]
    assert "roles/storage.objectUser" in found["hint"]
    assert told.refused == ["bucket"]


def test_bucket_in_another_region(check: Check, bucket: Bucket) -> None:
    bucket.lies_in("EU")
    told = check()
    found = told.refusal("bucket")
    assert f"The bucket '{bucket.name}' lies in EU" in found["message"] and "'us-central1'" in found["message"]
    assert "--set region=europe-west1" in found["hint"]
    assert check("--set", "region=europe-west4").refused == []


def test_missing_option(braid: Braid, bucket: Bucket, remote: Project) -> None:
    given = arguments(bucket)
    at = given.index("project=my-project")
    told = answered(braid(*given[: at - 1], *given[at + 1 :], "--set", "options={dataflow_kms_keys: x}"))
    assert "'project'" in told.refusal("project")["message"]
    assert "Did you mean 'dataflow_kms_key'?" in told.refusal("options.dataflow_kms_keys")["message"]


def test_broadcast_too_large(check: Check, bucket: Bucket, remote: Project, tmp_path: Path) -> None:
    """A file of some kilobytes that is gigabytes in memory."""
    rows = 60_000_000
    path = tmp_path / "regions.parquet"
    with pq.ParquetWriter(path, pa.schema([("id", pa.int64()), ("region", pa.int64())]), compression="zstd") as writer:
        piece = pa.table({name: pa.repeat(7, 1_000_000) for name in ("id", "region")})
        for _ in range(rows // 1_000_000):
            writer.write_table(piece, row_group_size=1_000_000)
    source = bucket.put("sources/regions.parquet", path.read_bytes())
    text = (remote.folder / "sales.yaml").read_text()
    text = text.replace("\nprepare:", f"\n  regions: {{path: {source}}}\n\nprepare:", 1)
    text = text.replace("      FROM sales\n", "      FROM sales LEFT JOIN regions USING (id)\n").replace(
        "SELECT id, day,", "SELECT id, region, day,"
    )
    remote.write("sales.yaml", text)
    line = text[: text.index("sql: |")].count("\n") + 1
    found = check("--set", "worker_type=n2-highcpu-8").refusal("prepare.orders.sql")
    assert found["where"] == f"sales.yaml:{line}: prepare.orders.sql"
    assert "'regions' (0.97 GB)" in found["message"] and "8 processes" in found["message"]
    assert "n2-highcpu-8 has 8 GB" in found["message"]


def test_template_parameter_missing(check: Check, remote: Project) -> None:
    parameters = [
        {"name": "config", "label": "Configuration", "helpText": "The pipeline's file.", "regexes": ["gs://.+"]},
        {"name": "workers", "label": "Workers", "helpText": "At most.", "isOptional": True},
    ]
    template = remote.write("template.json", json.dumps({"metadata": {"name": "braid", "parameters": parameters}}))
    told = check("--template", str(template), "--parameter", "worker=3")
    assert "'config' is missing: The pipeline's file." in told.refusal("template.json: config")["message"]
    assert "Did you mean 'workers'?" in told.refusal("template.json: worker")["message"]
    told = check("--template", str(template), "--parameter", "config=here.yaml")
    assert "does not match gs://.+" in told.refusal("template.json: config")["message"]
    assert check("--template", str(template), "--parameter", "config=gs://b/sales.yaml").refused == []


def test_worker_python_different(check: Check) -> None:
    told = check("--set", "image=apache/beam_python3.12_sdk:2.77.0")
    found = told.refusal("image")
    assert "has Python 3.12" in found["message"] and "Python 3.11 here" in found["message"]


def test_stale_lock(tree: SourceTree) -> None:
    wanted = tree.folder / "lock" / "requirements.in"
    lines = wanted.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.startswith("duckdb"))
    lines[line - 1] = "duckdb>=99"
    wanted.write_text("\n".join([*lines, "polars>=1", ""]))
    told = tree.check()
    assert "it pins duckdb==" in told.refusal(f"lock/requirements.in:{line}")["message"]
    assert "it has no 'polars'" in told.refusal(f"lock/requirements.in:{len(lines) + 1}")["message"]


def test_local_path_used_as_a_remote_source(check: Check, project: Project) -> None:
    project.configure()
    project.write("sales.csv", SALES)
    told = check()
    found = told.refusal("sources.sales.path")
    assert found["where"] == "sales.yaml:4: sources.sales.path"
    assert "is on this machine" in found["message"] and "gcloud storage cp" in found["hint"]
    assert told.refused == [found["where"]]


def test_dirty_code_not_in_the_wheel(tree: SourceTree) -> None:
    """A module that nobody has committed, loaded by its name on a path that no sample takes."""
    tree.git("init", "-q")
    tree.git("add", ".")
    tree.git("commit", "-q", "-m", "all")
    (tree.folder / "pipeline" / "rounding.py").write_text('"""Rounding."""\n')
    line = tree.change(
        "beam_jobs/kernel.py",
        "def order_of(",
        "def _rounding() -> object:\n    from importlib import import_module\n\n"
        '    return import_module("pipeline.rounding")\n\n\ndef order_of(',
    )
    told = tree.check()
    found = told.refusal("beam_jobs/kernel.py")
    assert found["where"] == f"beam_jobs/kernel.py:{line + 3}"
    assert "'pipeline/rounding.py' (not committed)" in found["message"]
    (warning,) = (one for one in told.findings if one["severity"] == "warning")
    assert warning["where"] == "beam_jobs/kernel.py" and "no commit holds" in warning["message"]
