"""Samples of tables that nobody has described."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.errors import DataError
from pipeline import source_sample


def test_a_small_file_is_taken_whole_with_its_rejects(tmp_path: Path) -> None:
    path = tmp_path / "Sales 2020.csv"
    path.write_text("id;amount\n" + "".join(f"{i};{i}.5\n" for i in range(500)) + "x\n")
    taken = source_sample.sample(str(path))
    assert (taken.source.name, taken.source.delimiter, taken.source.path) == ("sales_2020", ";", str(path))
    assert (taken.rows.num_rows, taken.read, taken.whole) == (500, 501, True)
    assert [reject.line for reject in taken.rejects] == [502]
    assert taken.rows.schema.field("amount").type == pa.float64()


@pytest.mark.parametrize(
    ("file", "name"),
    [("train.csv", "train_rows"), ("2013.csv", "t_2013"), ("größe.csv", "gr_e"), ("Examples.csv", "examples_rows")],
)
def test_names_are_names_of_tables(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).write_text("a,b\n1,2\n")
    assert source_sample.sample(str(tmp_path / file)).source.name == name


def test_a_file_without_header_gets_names_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1,a\n2,b\n")
    taken = source_sample.sample(str(path))
    assert taken.source.columns == ("column_1", "column_2")
    assert taken.rows.to_pylist() == [{"column_1": 1, "column_2": "a"}, {"column_1": 2, "column_2": "b"}]
    assert source_sample.sample(str(path), header=True).rows.column_names == ["1", "a"]


def test_large_files_are_sampled_from_beginning_to_end(tmp_path: Path) -> None:
    rows = 400_000
    text = "n,pad\n" + "".join(f"{i},{'x' * 20}\n" for i in range(rows))
    for path in (tmp_path / "n.csv", tmp_path / "n.csv.gz"):
        path.write_bytes(gzip.compress(text.encode(), 1) if path.suffix == ".gz" else text.encode())
        original, source_sample.PIECES = source_sample.PIECES, 4
        try:
            taken = source_sample.sample(str(path))
        finally:
            source_sample.PIECES = original
        numbers = taken.rows["n"].to_numpy()
        assert not taken.whole
        assert len(numbers) < rows
        assert numbers.min() == 0
        assert numbers.max() > 0.7 * rows


def test_parquet_is_thinned_evenly(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(200_000)}), tmp_path / "n.parquet")
    taken = source_sample.sample(str(tmp_path / "n.parquet"))
    assert not taken.whole
    assert source_sample.PIECE_ROWS <= len(taken.rows) <= 2 * source_sample.PIECE_ROWS
    assert taken.rows["n"].to_numpy().mean() == pytest.approx(100_000, rel=0.01)


def test_json_lines_and_folders(tmp_path: Path) -> None:
    for part in range(2):
        lines = [json.dumps({"a": part * 3 + i, "at": "2020-01-01"}) for i in range(3)]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    taken = source_sample.sample(str(tmp_path))
    assert sorted(taken.rows["a"].to_pylist()) == list(range(6))
    assert taken.rows.schema.field("at").type == pa.date32()


def test_a_package_path_stays_as_it_is_written() -> None:
    path = "package://sklearn/datasets/data/digits.csv.gz"
    taken = source_sample.sample(path)
    assert taken.source.path == path
    assert (len(taken.rows), len(taken.rows.column_names)) == (1797, 65)


def test_missing_and_empty_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="is empty"):
        source_sample.sample(str(tmp_path / "empty.csv"))
    with pytest.raises(DataError, match=r"Did you mean 'empty\.csv'"):
        source_sample.sample(str(tmp_path / "emty.csv"))


def test_more_rejects_than_a_run_allows(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"a,y\n" + b"caf\xe9,2\n" * 5 + b"x,1\n" * 95)
    with pytest.raises(DataError, match=r"5 of 100 records .* column 'a' is not UTF-8: byte 0xe9"):
        source_sample.sample(str(tmp_path / "latin.csv"))
