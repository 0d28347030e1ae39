"""Rows of a source followed into a model and back, against plain queries on the files that were read."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sales_project import TIME_SPLIT, Braid, Project, sales_lines

from beam_jobs.table import ROW, Table
from pipeline import runs
from pipeline.cli.main import main
from pipeline.lineage import naming, rows, source_files, source_places
from pipeline.lineage.archive import Archive

pytestmark = pytest.mark.slow

SHOPS = "name,size\nnorth,3\nsouth,5\neast,8\nwest,2\n"
TWO_STEPS = """\
  cleaned:
    stream: sales
    sql: SELECT * FROM sales WHERE amount < 90
  orders:
    stream: cleaned
    sql: |
      SELECT c.id, c.day, c.amount, c.shop, c.kind, s.size, c.late = 1 AS late
      FROM cleaned c LEFT JOIN shops s ON c.shop = s.name
      WHERE c.kind <> 'c'
"""
WINDOW = """\
  orders:
    stream: sales
    partition_by: [shop]
    sql: |
      SELECT * FROM (
        SELECT id, day, amount, shop, kind, avg(amount) OVER (PARTITION BY shop) AS usual, late = 1 AS late FROM sales
      ) WHERE kind <> 'c'
"""
AGGREGATE = """\
  habits:
    stream: sales
    partition_by: [shop]
    sql: SELECT shop, count(*) AS orders, max(amount) AS most FROM sales GROUP BY shop
  orders:
    stream: sales
    sql: |
      SELECT s.id, s.day, s.amount, s.shop, s.kind, h.orders, h.most, s.late = 1 AS late
      FROM sales s JOIN habits h USING (shop)
"""
KEPT = "amount < 90 AND kind <> 'c'"
SPLITS = {
    "train": "day < '2024-07-01'",
    "eval": "day >= '2024-07-01' AND day < '2024-09-01'",
    "test": "day >= '2024-09-01'",
}


def prepared(project: Project, steps: str) -> None:
    """The project with other prepare steps, and a second source."""
    project.write("shops.csv", SHOPS)
    project.write(
        "sales.yaml",
        f"name: sales\n\nsources:\n  sales: {{path: sales.csv, max_reject_fraction: 0.1}}\n  shops: {{path: shops.csv}}\n\n"
        f"prepare:\n{steps}\nexamples:\n  table: orders\n  label: late\n  split: {TIME_SPLIT}\n\n"
        "select:\n  exclude: [id, day]\n\ntrain:\n  rounds: 10\n",
    )


def archive(project: Project) -> Archive:
    return Archive(runs.connect(str(project.workspace / "metadata.sqlite")))


def counted(project: Project, condition: str) -> dict[str, int]:
    """Rows of the CSV for which a condition holds, by split."""
    table = f"read_csv('{project.folder}/sales.csv', ignore_errors = true)"
    filters = ", ".join(f"count(*) FILTER ({where})" for where in SPLITS.values())
    [found] = duckdb.sql(f"SELECT {filters} FROM {table} WHERE {condition}").fetchall()
    return dict(zip(SPLITS, found, strict=True))


def followed(project: Project, source: str, condition: str) -> rows.Followed:
    store = archive(project)
    return rows.follow(store, naming.find_model(store, "latest"), source, condition)


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One run that the tests only ask about; two records of its file are no rows."""
    project = Project(tmp_path_factory.mktemp("two_steps"))
    prepared(project, TWO_STEPS)
    project.write("sales.csv", "\n".join([*sales_lines(), "broken,north", "5,north"]) + "\n")
    with contextlib.chdir(project.folder), contextlib.redirect_stdout(io.StringIO()):
        main(["run", "sales.yaml", "--workspace", "ws"])
    return project


@pytest.fixture
def two_steps(ran_once: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(ran_once.folder)
    return ran_once


def test_rows_are_followed_through_every_step(two_steps: Project, braid: Braid) -> None:
    condition = "shop = 'north' AND amount > 50"
    found = followed(two_steps, "sales", condition)
    assert found.matched == sum(counted(two_steps, condition).values())
    cleaned = sum(counted(two_steps, f"{condition} AND amount < 90").values())
    left = counted(two_steps, f"{condition} AND {KEPT}")
    assert [(p.step, p.reached, p.left_out) for p in found.passages] == [
        ("cleaned", found.matched, found.matched - cleaned),
        ("orders", cleaned, cleaned - sum(left.values())),
    ]
    assert (dict(found.splits), found.influenced) == (left, None)
    fates = {fate: found.fates.count(fate) for fate in set(found.fates)}
    assert fates == {
        **left,
        "left out by cleaned": found.passages[0].left_out,
        "left out by orders": found.passages[1].left_out,
    }
    assert (found.unread, found.unread_mentioning) == (2, 2)
    assert found.shaped_the_model

    told = braid("lineage", "rows", "sales", condition, "--model", "latest", "--workspace", "ws")
    assert (told.code, told.err) == (0, "")
    assert f"{found.matched:,} rows of 'sales' match" in told.out
    assert "2 rows of the source could not be read" in told.out
    told = braid("lineage", "rows", "sales", condition, "--workspace", "ws", "--json")
    [model] = json.loads(told.out)
    assert model["must_be_retrained"] and model["serves_from"].endswith("00000001")


def test_rows_that_only_judged_the_model(two_steps: Project) -> None:
    condition = f"day >= '2024-09-01' AND {KEPT}"
    found = followed(two_steps, "sales", condition)
    assert dict(found.splits) == counted(two_steps, condition)
    assert not found.shaped_the_model


def test_a_broadcast_table(two_steps: Project) -> None:
    found = followed(two_steps, "shops", "name = 'east'")
    assert (found.matched, dict(found.splits)) == (1, {})
    assert found.influenced == counted(two_steps, f"shop = 'east' AND {KEPT}")
    assert followed(two_steps, "shops", "name = 'mars'").influenced == {}


def test_a_row_that_a_window_saw(project: Project, braid: Braid) -> None:
    """The row itself is left out of the examples, but every row of its shop knows it by the average."""
    prepared(project, WINDOW)
    assert braid().code == 0
    [(identity, shop)] = duckdb.sql("SELECT id, shop FROM 'sales.csv' WHERE kind = 'c' LIMIT 1").fetchall()
    found = followed(project, "sales", f"id = {identity}")
    assert sum(found.splits.values()) == 0
    assert found.influenced == counted(project, f"shop = '{shop}' AND kind <> 'c'")
    assert found.shaped_the_model


def test_a_row_that_an_aggregate_folded(project: Project, braid: Braid) -> None:
    prepared(project, AGGREGATE)
    assert braid().code == 0
    found = followed(project, "sales", "id = 7")
    [(shop,)] = duckdb.sql("SELECT shop FROM 'sales.csv' WHERE id = 7").fetchall()
    assert (found.passages, found.influenced) == ((), counted(project, f"shop = '{shop}'"))


def test_every_place_of_a_file_is_its_row(two_steps: Project, braid: Braid) -> None:
    store = archive(two_steps)
    use = source_files.uses_of(store, "sales.csv")
    [file] = use.files
    assert file.now == "unchanged"
    table = Table.load(file.table.uri)
    lines = (two_steps.folder / "sales.csv").read_text().splitlines(keepends=True)
    by_row = rows_by_id(table)
    at = len(lines[0])
    for number, line in enumerate(lines[1:], start=1):
        row = source_places.row_of_record(store, file, number)
        assert (
            source_places.row_at_byte(store, file, at)
            == row
            == source_places.row_at_byte(store, file, at + len(line) - 1)
        )
        assert by_row.get(row) == (line.split(",")[0] if number <= len(by_row) else None)
        at += len(line)
    told = braid("lineage", "file", "sales.csv", "--row", "2001", "--workspace", "ws")
    assert "None of them reached the model" in told.out  # the 2,001st record is a reject
    for wrong in (("--row", "99999"), ("--byte", "3"), ("--byte", "99999999")):
        told = braid("lineage", "file", "sales.csv", *wrong, "--workspace", "ws")
        assert (told.code, told.out) == (1, "")
        assert "no record" in told.err


def rows_by_id(table: Table) -> dict[int, str]:
    read: dict[int, str] = {}
    for part in table.parts:
        found = duckdb.sql(f"SELECT {ROW}, id FROM '{table.path(part)}'").fetchall()
        read.update((row, str(identity)) for row, identity in found)
    return read


def test_a_file_is_known_by_every_spelling(two_steps: Project, braid: Braid, tmp_path: Path) -> None:
    whole = str(two_steps.folder / "sales.csv")
    (two_steps.folder / "link.csv").symlink_to(whole)
    copied = tmp_path / "elsewhere.csv"
    copied.write_bytes((two_steps.folder / "sales.csv").read_bytes())
    store, seen = archive(two_steps), []
    for spelling in ("sales.csv", "./sales.csv", whole, f"file://{whole}", "link.csv", "sal*.csv", str(copied)):
        use = source_files.uses_of(store, spelling)
        seen.append([file.table.id for file in use.files])
        assert use.files[0].found_by == ("content" if spelling == str(copied) else "path"), spelling
    assert all(one == seen[0] for one in seen)
    both = source_files.uses_of(store, str(two_steps.folder))
    assert len(both.files) == 2
    told = braid("lineage", "file", "sales.csv", "--workspace", "ws", "--json")
    answer: dict[str, Any] = json.loads(told.out)
    [(_, steps)] = answer["runs"].items()
    assert {"cleaned", "orders", "train", "push"} <= set(steps)
    assert {"Model", "PushedModel"} <= {artifact["type"] for artifact in answer["artifacts"]}


def test_a_changed_file_is_told(two_steps: Project, braid: Braid) -> None:
    before = (two_steps.folder / "sales.csv").read_bytes()
    try:
        two_steps.write("sales.csv", before.replace(b"north", b"South", 1))
        assert "changed since" in braid("lineage", "file", "sales.csv", "--workspace", "ws").out
        told = braid("lineage", "file", "sales.csv", "--byte", "100", "--workspace", "ws")
    finally:
        two_steps.write("sales.csv", before)
    assert (told.code, told.out) == (1, "")
    assert "not what it was" in told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rows", "sale", "id = 7"), "Did you mean 'sales'?"),
        (("rows", "sales", "idd = 7"), "Did you mean 'id'?"),
        (("rows", "sales", "id ="), "syntax error"),
        (("rows", "sales", "random() < 0.5"), "answer changes"),
        (("rows", "sales", "id IN (SELECT id FROM read_csv('sales.csv'))"), "read_csv"),
        (("rows", "sales", "id = 7", "--model", "latest/trian"), "Did you mean 'train'?"),
        (("rows", "sales", "id = 7", "--model", "latest/statistics"), "is no Model"),
        (("rows", "weather", "id = 7", "--model", "latest"), "was not made from a source 'weather'"),
        (("file", "sale.csv"), "sales.csv"),
    ],
)
def test_what_cannot_be_asked(two_steps: Project, braid: Braid, arguments: tuple[str, ...], words: str) -> None:
    told = braid("lineage", *arguments, "--workspace", "ws")
    assert (told.code, told.out) == (1, "")
    assert words in told.err
