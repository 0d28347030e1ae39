"""Whether the tables that every worker holds whole fit its memory."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from pipeline.planning import Plan, PlannedStep
from pipeline.preflight.finding import Finding
from pipeline.preflight.machine_types import Machine, machine
from pipeline.preflight.samples import Sampled
from pipeline.targets.target import Dataflow

GB = 1e9
BASE_BYTES = 0.35 * GB
"""What a process of a worker takes before it holds any row: Python, Beam, Arrow, DuckDB."""
CHUNK_BYTES = 0.25 * GB
"""What a chunk of rows takes while it is worked on."""
FULL, TIGHT = 0.8, 0.5
"""Shares of a machine's memory: over the first jobs die, over the second they may."""
ONE_PROCESS = "no_use_multiple_sdk_containers"
_TEXT_BYTES = 24


def check(plan: Plan, service: Dataflow, sampled: Mapping[str, Sampled]) -> Iterator[Finding]:
    """Compares what each prepare step broadcasts with its workers' memory.

    Args:
      sampled: of each source, how large it is.
    """
    most = {name: one.rows[1] for name, one in sampled.items()}
    for name, step in plan.steps.items():
        most[name] = most.get(step.query.stream, 0.0)  # at most: joins that multiply rows are refused
        worker = machine(service.of_step(name).worker_type)
        if worker is not None:
            yield from _of_step(plan, step, service, worker, sampled, most)


def _of_step(
    plan: Plan,
    step: PlannedStep,
    service: Dataflow,
    worker: Machine,
    sampled: Mapping[str, Sampled],
    most: Mapping[str, float],
) -> Iterator[Finding]:
    broadcasts = [
        name for name in step.query.tables if name != step.query.stream and name not in step.query.partitioned
    ]
    known = {name: _bytes(plan, step, name, sampled, most) for name in broadcasts}
    total = sum(known.values())
    processes = 1 if _one_process(service, step.name) else worker.vcpus
    keys = service.of_step(step.name)
    needed = processes * (total + BASE_BYTES + keys.threads * CHUNK_BYTES)
    share = needed / (worker.gb * GB)
    if share <= TIGHT or not broadcasts:
        return
    only_bounds = any(name in plan.steps for name in broadcasts)
    largest = max(known, key=lambda name: known[name])
    where = f"{plan.loaded.settings.origin(('prepare', step.name, 'sql'))}: prepare.{step.name}.sql"
    yield Finding(
        where,
        f"Step '{step.name}' broadcasts {_words(known)}: {total / GB:.2g} GB in each of {processes} processes, with what they need besides "
        f"{needed / GB:.2g} GB, and a worker of type {keys.worker_type} has {worker.gb:.3g} GB.",
        f"Give the step larger workers, --set steps.{step.name}.worker_type=n2-highmem-4, or fewer processes a worker; or read fewer columns of "
        f"'{largest}'; or let the step partition both tables: partition_by.",
        "refused" if share > FULL and not only_bounds else "warning",
    )


def _words(known: Mapping[str, float]) -> str:
    return ", ".join(f"'{name}' ({size / GB:.2g} GB)" for name, size in sorted(known.items(), key=lambda one: -one[1]))


def _bytes(
    plan: Plan, step: PlannedStep, name: str, sampled: Mapping[str, Sampled], most: Mapping[str, float]
) -> float:
    """In memory, of the columns that the query reads."""
    schema = plan.sources[name].schema if name in plan.sources else plan.steps[name].query.output
    every = sum(_width(field.type) for field in schema)
    wanted = sum(_width(schema.field(column).type) for column in step.query.columns.get(name, schema.names))
    row = sampled[name].row_bytes * wanted / max(1.0, every) if name in sampled else wanted
    return most[name] * row


def _width(kind: pa.DataType) -> float:
    try:
        return max(1.0, float(kind.bit_width) / 8)
    except ValueError:
        return _TEXT_BYTES


def _one_process(service: Dataflow, step: str) -> bool:
    told = service.of_step(step).options.get("experiments")
    return told is not None and ONE_PROCESS in str(told)
