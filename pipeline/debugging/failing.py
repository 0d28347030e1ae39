"""The rows that failed, run alone: what `replay_failure.py` and `braid debug --shrink` stand on."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs import failure_test, failures, replay_failure
from beam_jobs.errors import BraidError
from beam_jobs.failures import Failure
from beam_jobs.shrinking import signature
from pipeline.debugging import debugger
from pipeline.debugging.changes import query_in
from pipeline.errors import RunError, explain

SHRUNK = "shrunk"


@dataclass(frozen=True)
class Layers:
    """The configuration of the run that failed, which a generated test reads the step from."""

    file: str
    overlays: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()


def kept(folder: str) -> list[Failure]:
    """The failures kept in a capsule.

    Raises:
      RunError: there are none.
    """
    found = failures.list_failures(folder)
    if not found:
        raise RunError(
            f"'{folder}' holds no rows that failed.",
            "Only data steps keep them, when a chunk of theirs fails; replay.py replays the whole step.",
        )
    return found


def main(folder: str, arguments: Sequence[str]) -> int:
    """Runs each kept failure again, and says how it ends; returns 0 when none fails any more."""
    options = _parsed(arguments)
    try:
        if options.listen is not None:
            debugger.wait(options.listen)
        sql = query_in(options.sql) if options.sql else None
        return max([_again(failure, sql, options.pdb) for failure in kept(folder)])
    except BraidError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return 1


def _again(failure: Failure, sql: str | None, stops: bool) -> int:
    batch = failures.rows(failure)
    try:
        report = replay_failure.rerun(failure, batch, sql=sql)
    except Exception as error:  # whatever the step raises is what is looked for
        message, hint = explain(error)
        same = signature(error) == failure.error.signature
        print(f"{'Fails as it did' if same else 'Fails otherwise'}: {message}\n{hint}")
        if stops:
            debugger.post_mortem(error)
        return 1
    print(f"Goes through: {batch.num_rows:,} rows in, {report.ledger.written:,} out.")
    return 0


def shrink(folder: str, layers: Layers) -> list[dict[str, Any]]:
    """Cuts each kept failure down to the rows that matter, and writes them with a test.

    Args:
      folder: the capsule's.
      layers: where the step is configured.

    Returns:
      For each failure: `rows`, `of_rows`, `runs`, `minimal`, `as_kept`, `test` (a path) and `parquet` (a path).

    Raises:
      RunError: no rows were kept.
      DataError: nothing fails on them any more.
    """
    found = []
    for failure in kept(folder):
        shrunk = replay_failure.shrink_failure(failure)
        place = os.path.join(folder, SHRUNK, failure.name)
        test = failure_test.write_test(shrunk, place, layers.file, layers.overlays, layers.assignments)
        stream = shrunk.stream
        found.append(
            {
                "failure": failure.name,
                "rows": stream.table.num_rows,
                "of_rows": stream.of_rows,
                "runs": shrunk.runs,
                "minimal": shrunk.minimal,
                "as_kept": shrunk.as_kept,
                "values": json.loads(json.dumps(stream.table.slice(0, 3).to_pylist(), default=str)),
                "test": test,
                "parquet": os.path.join(place, f"{failure_test.ROWS}.parquet"),
            }
        )
    return found


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs a step on the rows that failed.")
    parser.add_argument("--sql", metavar="FILE", help="run this query in place of the step's")
    parser.add_argument("--pdb", action="store_true", help="stop in the debugger where the step fails")
    parser.add_argument("--listen", type=int, metavar="PORT", help="wait for a debugger on this port of this machine")
    return parser.parse_args(arguments)
