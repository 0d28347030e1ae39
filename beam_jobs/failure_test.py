"""A failure as a test: its few rows, and a pytest file that fails until the step is mended."""

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator, Sequence

import pyarrow as pa

from beam_jobs import failures, storage
from beam_jobs.errors import DataError
from beam_jobs.failures import Contents, Failure
from beam_jobs.replay_failure import ShrunkFailure

ROWS = "rows"
"""The name of the files with the rows and with what else is known of the failure, before `.parquet` and `.json`."""
MOST_BYTES = 10_000_000
"""A broadcast table that is larger when all rows that do not matter are left out is read where it lies."""
_SHOWN_ROWS = 3
_SHOWN_LINES = 5
_WIDTH = 120

_TEST = '''\
"""The rows that a step failed on; this test fails until the step is mended in its configuration."""

from pathlib import Path

from beam_jobs import failures, replay_failure
from pipeline import loading, planning

{comment}

{constants}
KEPT = Path(__file__).with_name("{rows}.json")  # what happened, with the traceback


def test_{name}_runs_on_the_rows_that_it_failed_on() -> None:
    step = planning.step_config(loading.load({settings}), STEP)
    failure = failures.load(str(KEPT))
    batch = failures.rows(failure)
    report = replay_failure.rerun(failure, batch, step=step)
    assert report.ledger.read == batch.num_rows
'''


def write_test(
    shrunk: ShrunkFailure, folder: str, config: str, overlays: Sequence[str] = (), assignments: Sequence[str] = ()
) -> str:
    """Writes `rows.parquet`, `rows.json` and `test_<step>_<number>.py`.

    The test reads the step from the configuration as it is by then, so it passes once the step is mended there.

    Args:
      shrunk: the rows, from `replay_failure.shrink_failure`.
      folder: for this failure alone.
      config: the pipeline's configuration file.
      overlays: the files laid over it in the run that failed.
      assignments: the `--set key=value` of that run.

    Returns:
      The path of the test.

    Raises:
      DataError: the rows cannot be written.
    """
    failure = shrunk.failure
    kept = {failure.stream: shrunk.stream.table}
    kept |= {name: one.table for name, one in shrunk.others.items() if _is_kept(failure, name, one.table)}
    tables = {name: dataclasses.replace(table, file="", rows=0) for name, table in failure.tables.items()}
    contents = Contents({name: rows.to_reader() for name, rows in kept.items()})
    saved = failures.save(dataclasses.replace(failure, tables=tables), contents, folder, ROWS)
    if saved.incomplete:
        raise DataError(
            f"The rows cannot be written to '{folder}': {saved.incomplete}.", "Free some space, or name another folder."
        )
    path = f"{folder.rstrip('/')}/test_{_identifier(failure.step)}_{failure.number}.py"
    storage.write_text(path, _text(shrunk, config, overlays, assignments))
    return path


def _is_kept(failure: Failure, name: str, rows: pa.Table) -> bool:
    """A partition's rows lie nowhere else, however many they are."""
    return rows.nbytes <= MOST_BYTES or bool(failure.tables[name].file)


def _text(shrunk: ShrunkFailure, config: str, overlays: Sequence[str], assignments: Sequence[str]) -> str:
    layers = {"OVERLAYS": tuple(overlays), "ASSIGNMENTS": tuple(assignments)} if overlays or assignments else {}
    constants: dict[str, str | tuple[str, ...]] = {"CONFIG": config, **layers, "STEP": shrunk.failure.step}
    return _TEST.format(
        comment="\n".join(map(_comment, _story(shrunk))),
        constants="\n".join(f"{name} = {_literal(value)}" for name, value in constants.items()),
        rows=ROWS,
        name=_identifier(shrunk.failure.step),
        settings=", ".join(["CONFIG", *layers]),
    )


def _story(shrunk: ShrunkFailure) -> Iterator[str]:
    stream, failure = shrunk.stream, shrunk.failure
    yield f"{stream.table.num_rows:,} of {failure.words}:"
    yield from (
        json.dumps(row, default=str, ensure_ascii=False) for row in stream.table.slice(0, _SHOWN_ROWS).to_pylist()
    )
    yield failure.error.message


def _comment(text: str) -> str:
    """Lines of comment, whatever is in the text: it may come from the data."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    lines = textwrap.wrap(shown, _WIDTH - 2)
    cut = [*lines[: _SHOWN_LINES - 1], "..."] if len(lines) > _SHOWN_LINES else lines
    return "\n".join(f"# {line}" for line in cut)


def _literal(value: str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(map(_literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    # What JSON writes of ASCII text Python reads the same.
    return json.dumps(value) if value.isascii() else ascii(value)


def _identifier(step: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", step)
