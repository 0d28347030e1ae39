"""The judge against tensorflow-model-analysis, on the same predictions of 200,000 rows in 21 slices; and its memory.

Both read the same Parquet, where a score already stands, in a Beam pipeline of one worker, overall and by a column of
twenty values. Braid's figures have confidence intervals; TFMA's, for which it would count everything many times over,
do not. CPU is that of the whole process without its imports.
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.measure import CACHE, compare, run_once, table, work

MODULE = "benchmarks.judge"
ROWS, VALUES, TIMES = 200_000, 20, 10
METRIC, CLOSE = "auc", 1e-4


@dataclass(frozen=True)
class Scored:
    """A model whose predictions stand in the column `score`."""

    def predict(self, batch: Any) -> Any:
        return batch.column("score").to_numpy()

    def labels(self, batch: Any) -> Any:
        return batch.column("label").to_numpy()


def examples(rows: int) -> str:
    """A folder of examples with a label, a score and a column of twenty values; made once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from beam_jobs.ledger import Ledger
    from beam_jobs.table import ROW, ROW_GROUP_ROWS, Part, Table, row_id

    root = os.path.join(CACHE, f"scored-{rows}")
    if os.path.exists(os.path.join(root, "table.json")):
        return root
    os.makedirs(root, exist_ok=True)
    rng, parts = np.random.default_rng(0), []
    schema = pa.schema({"score": pa.float32(), "label": pa.float32(), "carrier": pa.string()})
    for chunk, start in enumerate(range(0, rows, ROW_GROUP_ROWS)):
        count = min(ROW_GROUP_ROWS, rows - start)
        score = rng.beta(2, 5, count).astype("float32")
        columns = {
            "score": score,
            "label": (rng.random(count) < score).astype("float32"),
            "carrier": [f"C{value:02d}" for value in rng.integers(0, VALUES, count)],
            ROW: np.arange(count) + row_id(chunk, 0),
        }
        name = f"part-{chunk:06d}.parquet"
        pq.write_table(pa.table(columns), os.path.join(root, name), compression="zstd", row_group_size=ROW_GROUP_ROWS)
        parts.append(Part(name, (count,), chunk, "test"))
    Table(root, schema, tuple(parts), True, Ledger(read=rows, kept=rows, written=rows)).save()
    return root


def run(engine: str, root: str, intervals: str) -> None:
    """One contender; tells the rows and the metric overall and by value."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.intervals import Intervals
    from beam_jobs.judgement import CANDIDATE, Question
    from beam_jobs.judging import JudgeExamples, Judging, read_reports
    from beam_jobs.table import Table
    from components.evaluator.rules import Rules
    from components.evaluator.tfma_engine import JudgeWithTfma, report

    read = Table.load(root)
    question = Question("binary", "label", ("no", "yes"), ("test",), Intervals(intervals))
    if engine == "tfma":
        import tensorflow_model_analysis.api.model_eval_lib  # noqa: F401  not part of the work
    with tempfile.TemporaryDirectory() as folder, work() as facts:
        judging = Judging(
            "judge", question, {CANDIDATE: partial(Scored)}, ("score", "label"), (("carrier",),), f"{folder}/found.json"
        )
        judge = JudgeWithTfma(read, judging, folder, "test") if engine == "tfma" else JudgeExamples(read, judging)
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            _ = pipeline | judge
        if engine == "tfma":
            report(read, judging, folder, Rules(splits=("test",)))
        split = read_reports(judging.output)[CANDIDATE]["splits"]["test"]
        facts["rows"] = split["overall"]["rows"]
        facts[METRIC] = {"": split["overall"][METRIC]["value"]}
        facts[METRIC] |= {value: node[METRIC]["value"] for value, node in split["slices"]["carrier"].items()}


def main() -> None:
    """Prints both, whether they say the same, and the judge's memory on ten times the rows."""
    root = examples(ROWS)
    tfma, braid = "TFMA", "Braid, jackknife"
    measured = compare(MODULE, {tfma: ("tfma", root, "jackknife"), braid: ("braid", root, "jackknife")}, 1)
    measured["Braid, 200 bootstraps"] = run_once(MODULE, ("braid", root, "bootstrap"))
    for intervals in ("jackknife", "bootstrap"):
        measured[f"Braid, {intervals}, x{TIMES}"] = run_once(MODULE, ("braid", examples(ROWS * TIMES), intervals))
    table(f"Judging {ROWS:,} rows, {VALUES + 1} slices", measured, braid)
    theirs, ours = (measured[name].facts[METRIC] for name in (tfma, braid))
    apart = max(abs(ours[value] - theirs[value]) for value in theirs)
    print(f"{METRIC} differs by {apart:.1e} at most, over {len(theirs)} slices (TFMA counts in 10,000 bins)")
    print(json.dumps({"TFMA's CPU-seconds for one of Braid's": round(measured[tfma].cpu / measured[braid].cpu, 1)}))
    if set(ours) != set(theirs) or apart > CLOSE:
        sys.exit(f"They do not say the same: {ours} and {theirs}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:4])
    else:
        main()
