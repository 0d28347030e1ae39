"""Bad input that only a run can find: it ends with one clear paragraph, leaves nothing half-written, and goes on once mended."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sales_project import (
    SALES,
    TIME_SPLIT,
    Braid,
    Project,
    assert_nothing_half_written,
    latest,
    ledgers,
    sales_lines,
    states,
)

SPLIT = f"  split: {TIME_SPLIT}"

Spoil = Callable[[str], str]


def spoiled(rows: int, spoil: Spoil) -> bytes:
    """The table with so many of its rows spoiled, spread over it; Latin-1, which differs where a row holds an é."""
    lines = sales_lines()
    step = (len(lines) - 1) // rows
    for place in range(1, 1 + rows * step, step):
        lines[place] = spoil(lines[place])
    return ("\n".join(lines) + "\n").encode("latin-1")


def in_field(number: int, value: str) -> Spoil:
    def spoil(line: str) -> str:
        fields = line.split(",")
        fields[number] = value
        return ",".join(fields)

    return spoil


ROWS: dict[str, tuple[Spoil, str]] = {
    "short row": (lambda line: line.rpartition(",")[0], "short row: 5 of 6 fields"),
    "long row": (lambda line: line + ",1", "long row: 7 "),
    "wrong type": (in_field(2, "lots"), "column 'amount' is double: invalid value 'lots'"),
    "broken encoding": (in_field(3, "café"), "column 'shop' is not UTF-8: byte 0xe9"),
    "NUL byte": (in_field(3, "no\0rth"), "column 'shop' holds a NUL byte"),
    "open quote": (in_field(3, '"north'), "a quote is opened here and not closed"),
}
TYPED = ("{path: sales.csv}", "{path: sales.csv, types: {amount: double}}")


@pytest.mark.parametrize(("spoil", "reason"), ROWS.values(), ids=ROWS.keys())
def test_too_many_bad_rows_stop_the_run_with_a_sample(
    spoil: Spoil, reason: str, project: Project, braid: Braid
) -> None:
    project.configure(TYPED)
    project.write("sales.csv", spoiled(50, spoil))
    outcome = braid()
    assert outcome.code == 1
    assert outcome.err.startswith("Error: Step 'sales' failed: Source 'sales': 50 of 2,000 records cannot be read")
    assert f"sales.csv, line 2: {reason}" in outcome.err
    assert "max_reject_fraction of 'sales'" in outcome.err
    assert "Traceback" not in outcome.err and "\0" not in outcome.err
    assert_nothing_half_written(project.workspace)


@pytest.mark.parametrize(("spoil", "reason"), ROWS.values(), ids=ROWS.keys())
def test_a_few_bad_rows_become_rejects_and_the_run_goes_on(
    spoil: Spoil, reason: str, project: Project, braid: Braid
) -> None:
    project.configure(TYPED)
    content = spoiled(5, spoil)
    project.write("sales.csv", content)
    assert braid().code == 0
    run = latest(project.workspace)
    read = ledgers(run)["sales.table"]
    assert (read["read"], read["rejected"], read["kept"]) == (2000, 5, 1995)  # type: ignore[index]
    rejects = rejected_rows(Path(run.step("sales").outputs["rejects"][0].uri))  # type: ignore[union-attr]
    assert len(rejects) == 5
    first = rejects[0]
    assert (first["file"], first["line"]) == (str(project.folder / "sales.csv"), 2)
    assert first["raw"] == content.splitlines()[1].decode("utf-8", "backslashreplace")
    assert reason in str(first["reason"])
    assert_nothing_half_written(project.workspace)


def rejected_rows(folder: Path) -> list[dict[str, object]]:
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


STOPPED: dict[str, tuple[list[tuple[str, str]], str, str]] = {
    "a value that cannot be cast": (
        [("amount, shop", "CAST(shop AS INTEGER) AS amount, shop")],
        "Step 'orders' failed on row 1 of the chunk of",
        "TRY_CAST",
    ),
    "no row kept": (
        [("FROM sales", "FROM sales WHERE amount > 1000")],
        "Step 'orders' keeps none of the 2,000 rows that it reads",
        "WHERE",
    ),
    "a split in time that ends up empty": (
        [("test_from: 2024-09-01", "test_from: 2025-09-01")],
        "Step 'orders' failed: split 'test' has no row. Rows: train 1,214, eval 786, test 0. Column 'day' runs from",
        "Move eval_from and test_from",
    ),
    "splits by hash that end up empty": (
        [(SPLIT, "  split: {by: hash, columns: [shape], shares: {train: 0.8, eval: 0.1, test: 0.1}}")],
        "the splits 'eval' and 'test' have no row",
        "more distinct values",
    ),
    "a value that has no split": (
        [(SPLIT, "  split: {by: column, column: kind, values: {train: [a], eval: [b], test: [d]}}")],
        "Column 'kind' has 'c' in",
        "Add it to a split's values",
    ),
    "a row without a time": (
        [("id, day,", "id, CASE WHEN id % 7 = 0 THEN NULL ELSE day END AS day,")],
        "Column 'day', by which rows are split, is missing in",
        "WHERE day IS NOT NULL",
    ),
    "a label that is constant": (
        [("late = 1 AS late", "true AS late")],
        "Step 'select' failed: The label 'late' is constant: every row of 'train' that has one holds True",
        "check the SQL that derives the label",
    ),
    "a label that is true or null": (
        [("late = 1 AS late", "CASE WHEN late = 1 THEN true END AS late")],
        "The label 'late' is constant",
        "check the SQL that derives the label",
    ),
    "a label that is null everywhere": (
        [("late = 1 AS late", "NULL::BOOLEAN AS late")],
        "Step 'select' failed: The label 'late' has no value in any row of 'train'",
        "null spellings",
    ),
    "a label of too many classes": (
        [("late = 1 AS late", "'x' || id AS late")],
        "These are too many classes",
        "Group the values",
    ),
    "a column that is all null": (
        [("amount, shop", "amount, NULL::DOUBLE AS discount, shop")],
        "Step 'validate' failed: The data has columns without a value: 1 anomaly.\n- split 'train', column 'discount': null in all 1,214 rows",
        "or name it under `select.exclude`",
    ),
    "a column that is null in later splits": (
        [("amount, shop", "amount, CASE WHEN day < DATE '2024-07-01' THEN amount END AS discount, shop")],
        "split 'test', column 'discount': null in all 373 rows; the schema requires values",
        "sales.schema.pbtxt', or delete that file",
    ),
}


@pytest.mark.parametrize("case", STOPPED.values(), ids=STOPPED.keys())
def test_a_run_stops_and_goes_on_once_the_query_is_mended(
    case: tuple[list[tuple[str, str]], str, str], project: Project, braid: Braid
) -> None:
    changes, said, hint = case
    shape = ("kind, late = 1", "kind, 'round' AS shape, late = 1")
    project.configure(shape, *changes)
    stopped = braid()
    assert stopped.code == 1
    assert stopped.err.startswith("Error: Step '")
    assert said in stopped.err and hint in stopped.err
    assert "Traceback" not in stopped.err
    assert_nothing_half_written(project.workspace)
    if "delete that file" in hint:
        (project.folder / "sales.schema.pbtxt").unlink()
    project.configure(shape)
    mended = braid()
    assert (mended.code, mended.err) == (0, "")
    assert states(latest(project.workspace))["sales"] == "CACHED"
    assert_nothing_half_written(project.workspace)


def test_a_join_that_multiplies_rows(project: Project, braid: Braid) -> None:
    joined = ("FROM sales", "FROM sales JOIN shops USING (shop)")
    sources = ("sales: {path: sales.csv}", "sales: {path: sales.csv}\n  shops: {path: shops.csv}")
    project.configure(joined, sources)
    project.write("shops.csv", "shop,owner\nnorth,Ann\nsouth,Bob\nsouth,Cid\neast,Dan\nwest,Eve\n")
    outcome = braid()
    assert outcome.code == 1
    assert outcome.err.startswith("Error: Step 'orders' multiplies rows of 'sales': ")
    assert "comes out 2 times (" in outcome.err and "shop = south" in outcome.err
    assert "'fan_out: true'" in outcome.err
    assert_nothing_half_written(project.workspace)
    project.write("shops.csv", "shop,owner\nnorth,Ann\nsouth,Bob\neast,Dan\nwest,Eve\n")
    assert braid().code == 0
    assert states(latest(project.workspace))["sales"] == "CACHED"


def test_a_damaged_page_in_a_parquet_file(project: Project, braid: Braid) -> None:
    from pyarrow import csv

    whole = project.folder / "sales.parquet"
    pq.write_table(csv.read_csv(project.folder / "sales.csv"), whole)
    content = bytearray(whole.read_bytes())
    content[2000:4000] = b"\xff" * 2000
    whole.write_bytes(content)
    project.configure(("path: sales.csv", "path: sales.parquet"))
    outcome = braid()
    assert outcome.code == 1
    assert "sales.parquet" in outcome.err and "damaged" in outcome.err and "TRY_CAST" not in outcome.err
    assert "Traceback" not in outcome.err
    assert_nothing_half_written(project.workspace)


def test_an_all_null_column_may_be_excluded_and_later_dropped_or_filled(project: Project, braid: Braid) -> None:
    excluded = ("[id, day]", "[id, day, discount]")
    project.configure(("amount, shop", "amount, NULL::DOUBLE AS discount, shop"), excluded)
    assert braid().code == 0
    project.configure(("amount, shop", "amount, amount / 2 AS discount, shop"))
    assert braid().code == 0
    (project.folder / "sales.schema.pbtxt").unlink()
    project.configure(("amount, shop", "amount, NULL::DOUBLE AS discount, shop"), excluded)
    assert braid().code == 0
    project.configure()
    assert braid().code == 0


def test_a_label_that_never_varies_in_test_is_not_blessed(project: Project, braid: Braid) -> None:
    project.configure(("late = 1 AS late", "day < DATE '2024-07-01' AND late = 1 AS late"))
    outcome = braid()
    assert outcome.code == 0
    assert "Not blessed" in outcome.out and "auc cannot be told" in outcome.out
    assert not (project.workspace / "sales" / "serving").exists()


def test_a_store_that_is_damaged(project: Project, braid: Braid) -> None:
    project.write("ws/metadata.sqlite", "not a database, " * 100)
    outcome = braid()
    assert outcome.code == 1
    assert "is no metadata store" in outcome.err and "move it away" in outcome.err


def test_a_memo_that_is_damaged_is_made_anew(project: Project, braid: Braid) -> None:
    project.write("ws/digests.json", "not json")
    assert braid().code == 0


def test_parameters_that_xgboost_does_not_know(project: Project, braid: Braid) -> None:
    project.configure(more="  parameters: {max_deph: 3}\n")
    outcome = braid()
    assert outcome.code == 1
    assert "'max_deph'" in outcome.err and "Did you mean 'max_depth'?" in outcome.err


def test_a_metric_that_is_none(project: Project, braid: Braid) -> None:
    project.configure(more="\nevaluate: {thresholds: {acu: {min: 0.5}}}\n")
    outcome = braid()
    assert outcome.code == 1
    assert "'acu'" in outcome.err and "Did you mean 'auc'?" in outcome.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes, and again with another size on the next call."""
    import subprocess

    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: int) -> Path:
        options = f"{'remount,' if place.is_mount() else ''}size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")
        return place

    try:
        yield sized
    finally:
        if place.is_mount():
            subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 64, 300, 400, 500, 560, 600, 650])
def test_a_disk_that_fills_up(
    kilobytes: int, project: Project, braid: Braid, small_disk: Callable[[int], Path]
) -> None:
    """From the first file over the store itself and each step's output to the last step."""
    project.write("sales.csv", "\n".join(sales_lines(10_000)) + "\n")
    disk = small_disk(kilobytes << 10)
    full = braid("run", "sales.yaml", "--workspace", str(disk))
    assert full.code == 1
    assert "isk is full" in full.err or "No space left on device" in full.err
    assert "Traceback" not in full.err and "may be a bug" not in full.err
    small_disk(64 << 20)
    assert braid("run", "sales.yaml", "--workspace", str(disk)).code == 0
    assert_nothing_half_written(disk)


def test_the_sound_table_runs(project: Project, braid: Braid) -> None:
    outcome = braid()
    assert (outcome.code, outcome.err) == (0, "")
    assert (project.folder / "sales.csv").read_text() == SALES
    assert_nothing_half_written(project.workspace)
