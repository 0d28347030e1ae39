"""Training from Parquet through Braid's Trainer, against bare xgboost on an in-memory matrix of the same rows.

Both learn from the same columns with the same parameters, rounds and threads. The rival has its rows in memory already,
as one float32 array; its time is that of building a QuantileDMatrix and boosting. Braid's time starts at Parquet.
`external` is shown training under a cap on memory, on examples four times as large as the cap.
"""

import json
import os
import resource
import sys
import tempfile

from benchmarks import flights_rows
from benchmarks.measure import compare, run_once, table, work

MODULE = "benchmarks.training"
# RLIMIT_DATA also counts address space that allocators hold and do not use: Arrow's pool, glibc's arenas and freed blocks.
LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}
ROWS, COLUMNS, ROUNDS = 2_000_000, 20, 100
LARGE_ROWS, LARGE_COLUMNS, LARGE_ROUNDS, LARGE_BINS = 8_000_000, 100, 5, 64
TIMES_THE_CAP = 4
PARAMETERS = {"eta": 0.1, "max_depth": 6, "max_bin": 256}


def examples(rows: int, width: int) -> str:
    """A folder of examples: `rows` of train and a tenth of eval, `width` float columns and a binary label; made once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from beam_jobs.table import ROW_GROUP_ROWS, Part, Table

    root = os.path.join(flights_rows.CACHE, f"examples-{rows}x{width}")
    if os.path.exists(os.path.join(root, "table.json")):
        return root
    names = [f"c{i}" for i in range(width)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("y", pa.int64())])
    parts, rng = [], np.random.default_rng(0)
    weights = rng.normal(size=width).astype("float32")
    for split, wanted in (("train", rows), ("eval", rows // 10)):
        for chunk, start in enumerate(range(0, wanted, ROW_GROUP_ROWS)):
            count = min(ROW_GROUP_ROWS, wanted - start)
            x = rng.normal(size=(count, width)).astype("float32")
            y = (x @ weights + np.sin(3 * x[:, 0]) * 2 + rng.normal(size=count) * 2 > 0).astype("int64")
            path = os.path.join(f"Split-{split}", f"part-{chunk:06d}.parquet")
            os.makedirs(os.path.join(root, f"Split-{split}"), exist_ok=True)
            columns = {**{name: x[:, i] for i, name in enumerate(names)}, "y": y}
            pq.write_table(pa.table(columns, schema), os.path.join(root, path), compression="zstd")
            parts.append(Part(path, (count,), chunk, split))
    from beam_jobs.ledger import Ledger

    total = sum(part.rows for part in parts)
    Table(root, schema, tuple(parts), False, Ledger(read=total, kept=total, written=total)).save()
    return root


def braid(root: str, memory: str) -> None:
    """Braid's training work, as its Trainer component calls it.

    With `memory` external, the process may grow by a quarter of what the examples would take as float32, no further:
    the kernel refuses more (RLIMIT_DATA).
    """
    from beam_jobs.table import Table
    from components.importances import FeatureImportance, Importances
    from components.trainer.training import TrainingConfig, train

    read = Table.load(root)
    names = [name for name in read.schema.names if name != "y"]
    kept = tuple(FeatureImportance(n, 1 / len(names), 0.0, 0.0, i, True, "") for i, n in enumerate(names, 1))
    importances = Importances("y", "binary", (0, 1), kept, ())
    external = memory == "external"
    rounds, parameters = (LARGE_ROUNDS, {**PARAMETERS, "max_bin": LARGE_BINS}) if external else (ROUNDS, PARAMETERS)
    config = TrainingConfig(params=parameters, rounds=rounds, early_stopping_rounds=0, memory=memory, threads=2)
    size = read.splits["train"] * len(names) * 4
    with tempfile.TemporaryDirectory() as model, work() as facts:
        facts["examples MB"] = round(size / 1e6)
        if external:
            facts["cap MB"] = round(cap_growth(size // TIMES_THE_CAP) / 1e6)
        report = train(read, importances, config, model)
        facts |= {"log loss": report.score, "memory": report.memory, "rows": report.train.labelled}


def cap_growth(allowed: int) -> int:
    """Lets the process's data grow by `allowed` bytes and no further; returns them."""
    with open("/proc/self/status", encoding="utf-8") as stream:
        held = next(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, held + allowed))
    return allowed


def bare(root: str, _: str) -> None:
    """xgboost alone, its rows in memory before the clock starts."""
    import numpy as np
    import xgboost

    from beam_jobs.table import Table, read_batches

    read = Table.load(root)
    arrays = {}
    for split in ("train", "eval"):
        x = np.empty((read.splits[split], COLUMNS), "float32")
        y = np.empty(read.splits[split], "float32")
        at = 0
        for batch in read_batches(read, split):
            for i in range(COLUMNS):
                x[at : at + len(batch), i] = batch.column(i).to_numpy()
            y[at : at + len(batch)] = batch.column(COLUMNS).to_numpy()
            at += len(batch)
        arrays[split] = (x, y)
    parameters = {
        **PARAMETERS,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": 2,
        "eval_metric": "logloss",
        "seed": 0,
    }
    with work() as facts:
        train = xgboost.QuantileDMatrix(*arrays["train"], max_bin=256)
        held_out = xgboost.QuantileDMatrix(*arrays["eval"], ref=train)
        results: dict[str, dict[str, list[float]]] = {}
        xgboost.train(parameters, train, ROUNDS, evals=[(held_out, "eval")], evals_result=results, verbose_eval=False)
        facts |= {"log loss": results["eval"]["logloss"][-1], "rows": train.num_row()}


def main() -> None:
    """Prints both."""
    root = examples(ROWS, COLUMNS)
    contenders = {"bare xgboost, in memory": ("bare", root, "-"), "Braid from Parquet": ("braid", root, "auto")}
    measured = compare(MODULE, contenders, 3)
    table(f"Training, {ROWS:,} rows x {COLUMNS}, {ROUNDS} rounds (medians of 3)", measured, "bare xgboost, in memory")
    for name, m in measured.items():
        print(f"  {name}: {json.dumps(m.facts)}")
    os.environ.update(LEAN)
    external = run_once(MODULE, ("braid", examples(LARGE_ROWS, LARGE_COLUMNS), "external"))
    facts = external.facts
    print(
        f"\nmemory: external, {LARGE_ROWS:,} rows x {LARGE_COLUMNS}: examples of {facts['examples MB']} MB trained in a process that "
        f"could not grow by more than {facts['cap MB']} MB (RLIMIT_DATA); {external.wall:.0f} s, log loss {facts['log loss']:.4f}"
    )


if __name__ == "__main__":
    {"braid": braid, "bare": bare}[sys.argv[1]](sys.argv[2], sys.argv[3])
