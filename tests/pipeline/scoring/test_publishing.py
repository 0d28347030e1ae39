"""The folder of predictions: whole or absent, and never over something else."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.errors import DataError
from beam_jobs.ledger import Ledger
from beam_jobs.table import Origin, Part, Table
from pipeline.errors import RunError
from pipeline.scoring.publishing import CONTENTS, Place, contents

ROWS = pa.table({"prediction": pa.array([0.1, 0.9], pa.float32()), "_row": [0, 1]})


def table(folder: Path, files: int = 2) -> Table:
    folder.mkdir()
    parts = tuple(Part(f"part-{number:06d}.parquet", (2,), number) for number in range(files))
    for part in parts:
        pq.write_table(ROWS, folder / part.path)
    origins = (Origin(0, "/data/new.csv", 10, 900, "bytes"),)
    rows = 2 * files
    return Table(
        str(folder),
        pa.schema([("prediction", pa.float32())]),
        parts,
        True,
        Ledger(rows, kept=rows, written=rows),
        origins,
    )


def test_predictions_are_copied_with_what_they_are(tmp_path: Path) -> None:
    predictions, rejects = table(tmp_path / "t"), table(tmp_path / "r", 1)
    place = Place.of(str(tmp_path / "deep" / "out"))
    place.check()
    files = place.publish(predictions, rejects, contents(predictions, predictions))
    assert files == ["part-000000.parquet", "part-000001.parquet"]
    assert pq.read_table(place.folder).num_rows == 4
    told = json.loads((Path(place.folder) / CONTENTS).read_text())
    assert told["rows"] == 4
    assert told["chunks"] == [{"chunk": 0, "file": "/data/new.csv", "start": 10, "stop": 900, "unit": "bytes"}]
    assert told["rejects"] == ["_rejects/part-000000.parquet"]
    assert os.listdir(tmp_path / "deep") == ["out"]


def test_an_empty_folder_is_filled_and_a_full_one_only_when_told(tmp_path: Path) -> None:
    predictions = table(tmp_path / "t")
    (tmp_path / "out").mkdir()
    place = Place.of(str(tmp_path / "out"))
    place.publish(predictions, None, {"rows": 1})
    with pytest.raises(RunError, match="holds predictions already"):
        place.check()
    (tmp_path / "out" / "old.parquet").write_bytes(b"")
    Place.of(str(tmp_path / "out"), replaces=True).publish(predictions, None, {"rows": 2})
    assert sorted(os.listdir(tmp_path / "out")) == [CONTENTS, "part-000000.parquet", "part-000001.parquet"]
    assert sorted(os.listdir(tmp_path)) == ["out", "t"]


def test_what_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="is not empty: it holds thesis"):
        Place.of(str(tmp_path / "out"), replaces=True).check()
    with pytest.raises(RunError, match="is a file"):
        Place.of(str(tmp_path / "out" / "thesis.tex")).check()


def test_a_copy_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    predictions = table(tmp_path / "t")
    place = Place.of(str(tmp_path / "out"), replaces=True)
    place.publish(predictions, None, {"rows": 1})
    (tmp_path / "t" / "part-000001.parquet").unlink()
    with pytest.raises(DataError, match="failed"):
        place.publish(predictions, None, {"rows": 2})
    assert json.loads((tmp_path / "out" / CONTENTS).read_text())["rows"] == 1
    assert sorted(os.listdir(tmp_path)) == ["out", "t"]
