"""Samples of sources, and what is reckoned from them."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import ingest, sources
from beam_jobs.sources import SourceConfig
from pipeline import loading, planning
from pipeline.planning import Plan, PlannedSource
from pipeline.preflight import checking, memory, samples
from pipeline.preflight.estimate import estimate
from pipeline.preflight.samples import Sampled
from pipeline.targets.target import Dataflow

ROWS = 200_000
CONFIG = """\
name: sales
sources:
  sales: {path: sales.csv}
  shops: {path: shops.parquet}
prepare:
  orders:
    stream: sales
    sql: SELECT id, shop, late = 1 AS late, town FROM sales LEFT JOIN shops USING (shop)
examples:
  table: orders
  label: late
  split: {by: hash, columns: [id], shares: {train: 0.8, eval: 0.2}}
"""


def planned(path: Path, **config: str) -> PlannedSource:
    source = SourceConfig(name="sales", path=str(path), **config)  # type: ignore[arg-type]
    return PlannedSource(source, sources.infer_schema(source), sources.source_content(source))


def lines(kind: str) -> bytes:
    if kind == "jsonl":
        return "".join(json.dumps({"id": row, "note": f"n{row % 7}"}) + "\n" for row in range(ROWS)).encode()
    return ("id,note\n" + "".join(f'{row},"n{row % 7}, with\na line end"\n' for row in range(ROWS))).encode()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("compressed", [False, True])
def test_text_is_sampled_from_beginning_to_end(tmp_path: Path, kind: str, compressed: bool) -> None:
    path = tmp_path / f"sales.{kind}{'.gz' if compressed else ''}"
    content = lines(kind)
    path.write_bytes(gzip.compress(content, 1) if compressed else content)
    (tmp_path / "out").mkdir()
    found = samples.sampled(planned(path), str(tmp_path / "out"))
    taken = Path(found.source.config.path)
    assert taken.stat().st_size < len(content) / 2
    assert found.rows[0] == pytest.approx(ROWS, rel=0.05) == found.rows[1]
    plan = ingest.plan(found.source.config)
    assert plan.schema == found.source.schema and plan.format == kind
    parsed = [outcome.rows.ledger for outcome in _ingested(found, tmp_path)]
    assert sum(one.written for one in parsed) > 1_000
    assert sum(one.rejected for one in parsed) <= samples.PIECES  # a piece may begin inside a record


def _ingested(found: Sampled, tmp_path: Path) -> list[ingest.ChunkOutcome]:
    plan = ingest.plan(found.source.config)
    target = ingest.IngestTarget(found.source.config, plan, str(tmp_path / "table"), str(tmp_path / "rejects"))
    return [ingest.ingest_chunk(chunk, target) for chunk in plan.chunks]


def test_small_text_is_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("id,note\n1,a\n2,b")
    (tmp_path / "out").mkdir()
    found = samples.sampled(planned(path), str(tmp_path / "out"))
    assert Path(found.source.config.path).read_text() == "id,note\n1,a\n2,b\n"
    assert found.rows == (2, 2)


def test_parquet_is_counted_by_its_footers(tmp_path: Path) -> None:
    folder = tmp_path / "sales"
    folder.mkdir()
    for part in range(3):
        pq.write_table(
            pa.table({"id": range(part * 50_000, (part + 1) * 50_000)}),
            folder / f"{part}.parquet",
            row_group_size=1_000,
        )
    (tmp_path / "out").mkdir()
    found = samples.sampled(planned(folder), str(tmp_path / "out"))
    taken = pq.read_table(found.source.config.path)["id"].to_pylist()
    assert found.rows == (150_000, 150_000) and found.row_bytes == pytest.approx(8, rel=0.05)
    assert samples.PIECE_ROWS <= len(taken) < 20_000 and max(taken) >= 100_000
    assert samples.is_in_place(found.source)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "sales.csv").write_text(
        "id,shop,late\n" + "".join(f"{row},{row % 5},{row % 2}\n" for row in range(100))
    )
    pq.write_table(pa.table({"shop": range(5), "town": ["a", "b", "c", "d", "e"]}), tmp_path / "shops.parquet")
    (tmp_path / "sales.yaml").write_text(CONFIG)
    return planning.plan(loading.load(str(tmp_path / "sales.yaml")))


def sized(plan: Plan, **rows: float) -> dict[str, Sampled]:
    """The plan's sources, as large as is said."""
    return {name: Sampled(plan.sources[name], 1_000, (rows[name], rows[name]), 32.0) for name in plan.sources}


def service(**keys: object) -> Dataflow:
    return Dataflow.model_validate({"runner": "dataflow", "project": "my-project", "bucket": "a-bucket", **keys})


def test_an_estimate_grows_with_the_rows_and_flexible_scheduling_is_cheaper(plan: Plan) -> None:
    kinds = checking.kinds_of(plan)
    assert kinds == {"sales": "ingest", "orders": "prepare", "statistics": "statistics", "evaluate": "evaluate"}

    def cost(rows: float, **keys: object) -> tuple[float, float]:
        found = estimate(plan, service(**keys), sized(plan, sales=rows, shops=5), kinds)
        assert found is not None and [job.step for job in found.jobs] == list(kinds)
        assert found.cost[0] == pytest.approx(sum(job.cost[0] for job in found.jobs))
        return found.cost

    small, large = cost(1e6), cost(1e9)
    assert small[0] < large[0] / 3 and small[1] < large[1] / 10
    flexible = cost(1e9, flexible_scheduling=True)
    assert flexible[0] == pytest.approx(0.6 * large[0], rel=0.03) and flexible[1] == pytest.approx(
        0.6 * large[1], rel=0.03
    )
    assert cost(1e9, region="europe-west3")[0] > large[0]
    assert cost(1e9, max_workers=2)[1] < large[1]
    assert estimate(plan, service(worker_type="z9-huge-4"), sized(plan, sales=1, shops=5), kinds) is None


def test_the_cost_of_known_work_is_the_rates(plan: Plan) -> None:
    """A thousand million rows at the slowest pace, by hand."""
    found = estimate(plan, service(max_workers=1), sized(plan, sales=1e9, shops=5), checking.kinds_of(plan))
    assert found is not None
    job = next(job for job in found.jobs if job.step == "sales")
    hours = 1e3 * 30 / 3600 / 4 + 8 / 60
    assert job.worker_hours[1] == pytest.approx(hours)
    machine = 4 * 0.056 + 16 * 0.003557 + 50 * 0.000054
    assert job.cost[1] == pytest.approx(hours * machine + 1e9 * 32 / 1e9 * 0.01 * 0.011)


@pytest.mark.parametrize(
    ("rows", "worker", "severity"),
    [
        (1e6, "n2-standard-4", ""),
        (7e7, "n2-standard-4", "warning"),
        (2e8, "n2-standard-4", "refused"),
        (1.5e8, "n2-highmem-4", "warning"),
        (2e8, "n2-custom-2-65536", ""),
    ],
)
def test_broadcasts_must_fit_the_workers(plan: Plan, rows: float, worker: str, severity: str) -> None:
    found = list(memory.check(plan, service(worker_type=worker), sized(plan, sales=100, shops=rows)))
    assert [one.severity for one in found] == ([severity] if severity else [])
    one_process = service(worker_type=worker, options={"experiments": memory.ONE_PROCESS})
    assert not list(memory.check(plan, one_process, sized(plan, sales=100, shops=rows)))
