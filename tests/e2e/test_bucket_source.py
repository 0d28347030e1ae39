"""A pipeline whose source lies in a bucket, and whose workspace on this machine."""

import io

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from bucket import Bucket
from sales_project import SALES, Braid, Project, assert_nothing_half_written, latest, ledgers, states

pytestmark = pytest.mark.slow


@pytest.fixture
def remote(bucket: Bucket, project: Project) -> Bucket:
    """A bucket that holds the table of sales, which the project reads there."""
    (project.folder / "sales.csv").unlink()
    project.configure(("path: sales.csv", f"path: {bucket.put('tables/sales.csv', SALES)}"))
    return bucket


def rows_read(project: Project) -> float:
    ledger = ledgers(latest(project.workspace))["orders.examples"]
    assert isinstance(ledger, dict)
    return float(ledger["read"])


def test_runs_from_the_bucket_and_again_once_its_content_changed(
    remote: Bucket, project: Project, braid: Braid
) -> None:
    ended = braid()
    assert ended.code == 0, ended.err
    assert (set(states(latest(project.workspace)).values()), rows_read(project)) == ({"COMPLETE"}, 2_000)
    assert braid().code == 0
    assert set(states(latest(project.workspace)).values()) == {"CACHED"}
    remote.put("tables/sales.csv", SALES + "2000,2024-10-26,50.5,north,a,1\n")
    assert braid().code == 0
    ran = {step for step, state in states(latest(project.workspace)).items() if state == "COMPLETE"}
    # The new row is one of the test split: what follows the model alone may come from the cache.
    assert ({"sales", "orders", "statistics", "evaluate"} - ran, rows_read(project)) == (set(), 2_001)
    assert_nothing_half_written(project.workspace)
    assert remote.names == ["tables/sales.csv"]


def test_reads_parquet_where_it_lies(bucket: Bucket, project: Project, braid: Braid) -> None:
    rows = pyarrow.csv.read_csv(io.BytesIO(SALES.encode()))
    for part in (0, 1):
        written = io.BytesIO()
        pq.write_table(rows.slice(part * 1_000, 1_000), written)
        bucket.put(f"sales/part-{part}.parquet", written.getvalue())
    project.configure(("path: sales.csv", f"path: {bucket.url}/sales/*.parquet"))
    ended = braid()
    assert ended.code == 0, ended.err
    assert rows_read(project) == 2_000
    ingested = project.workspace / "sales" / "sales"
    assert list(ingested.rglob("table.json")) and not list(ingested.rglob("*.parquet"))  # nothing was copied
    assert bucket.names == ["sales/part-0.parquet", "sales/part-1.parquet"]


def test_a_misspelt_path_is_refused_before_the_run(remote: Bucket, project: Project, braid: Braid) -> None:
    project.configure(("path: sales.csv", f"path: {remote.url}/tables/sale.csv"))
    ended = braid()
    assert ended.code == 1
    assert "matches no file. Did you mean 'sales.csv'?" in ended.err
    assert not (project.workspace / "metadata.sqlite").exists()
