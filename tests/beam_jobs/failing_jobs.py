"""A step that fails on one planted row, and the job run on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from small_tables import prepare, write_source

from beam_jobs.errors import BraidError
from beam_jobs.failures import Failure, list_failures
from beam_jobs.table import Table

BAD = 137
TEXTS = pa.table(
    {
        "n": [str(n) if n != BAD else "x'137" for n in range(200)],
        "who": [f"p{n % 9}" for n in range(200)],
        "unread": list(range(200)),
    }
)
PEOPLE = pa.table({"who": [f"p{n}" for n in range(9)], "age": [20 + n for n in range(9)]})
CAST = "SELECT CAST(n AS INTEGER) AS n, who FROM texts"
JOINED = "SELECT CAST(t.n AS INTEGER) AS n, p.age FROM texts t LEFT JOIN people p USING (who)"
SUMMED = "SELECT who, sum(CAST(n AS INTEGER)) AS s FROM texts GROUP BY who"
MENDED = "SELECT TRY_CAST(n AS INTEGER) AS n, who FROM texts"


def saved(folder: Path, rows: pa.Table, **layout: Any) -> Table:
    """A table with its manifest, as a run's artifacts have it."""
    table = write_source(folder, rows, **layout)
    table.save()
    return table


def failing_tables(folder: Path) -> dict[str, Table]:
    """The stream, whose row number `BAD` no cast takes, and a table to join."""
    return {"texts": saved(folder / "texts", TEXTS), "people": saved(folder / "people", PEOPLE)}


def fail(root: Path | str, sql: str, tables: Mapping[str, Table], *more: Any, **settings: Any) -> BraidError:
    """Runs the step as `small_tables.prepare` does; returns what it raised."""
    with pytest.raises(BraidError) as caught:
        prepare(root, sql, tables, *more, **settings)
    return caught.value


def only(root: Path | str) -> Failure:
    """The one failure that a job has kept."""
    (failure,) = list_failures(str(root))
    return failure
