"""What a run may take and cost on the service: ranges, from list prices and from what the jobs took on other machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.planning import Plan
from pipeline.preflight.machine_types import Machine, machine, read_rates
from pipeline.preflight.samples import Sampled
from pipeline.targets.target import Dataflow

GB = 1e9
Range = tuple[float, float]
_MILLION, _HOUR = 1e6, 3600.0
_SHUFFLED_SHARE = (0.0, 0.01)
"""Of the bytes read: descriptions of chunks and files cross Beam's shuffles, rows do not."""


@dataclass(frozen=True)
class Job:
    """One step's job.

    Attributes:
      rows: that it reads.
      worker_hours: of machines of its worker type.
      cost: in the rates' currency.
    """

    step: str
    rows: Range
    worker_hours: Range
    cost: Range


@dataclass(frozen=True)
class Estimate:
    """All jobs of a run.

    Attributes:
      bytes: that sources hold, as stored.
      currency: of the costs.
      rates: whose, and as of when.
    """

    jobs: tuple[Job, ...]
    bytes: int
    currency: str
    rates: str

    @property
    def worker_hours(self) -> Range:
        """Of all jobs."""
        return _sum(job.worker_hours for job in self.jobs)

    @property
    def cost(self) -> Range:
        """Of all jobs."""
        return _sum(job.cost for job in self.jobs)

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "jobs": [vars(job) for job in self.jobs],
            "bytes": self.bytes,
            "worker_hours": self.worker_hours,
            "cost": self.cost,
            "currency": self.currency,
            "rates": self.rates,
        }


def _sum(ranges: Iterator[Range] | Any) -> Range:
    pairs = list(ranges)
    return sum(low for low, _ in pairs), sum(high for _, high in pairs)


def estimate(
    plan: Plan, service: Dataflow, sampled: Mapping[str, Sampled], kinds: Mapping[str, str]
) -> Estimate | None:
    """Estimates a run of the whole pipeline with nothing taken from the cache; None where a worker's type is not known.

    Args:
      sampled: of each source, how large it is.
      kinds: of each step with a Beam job its kind, as `worker_package.STEPS` names it.
    """
    rates, throughput = read_rates("dataflow.yaml"), read_rates("throughput.yaml")
    prices = {
        name: _range(price) for name, price in rates["regions"].get(service.region, rates["regions"]["other"]).items()
    }
    jobs: list[Job] = []
    for step, rows, size in _work(plan, sampled, kinds):
        worker = machine(service.of_step(step).worker_type)
        if worker is None:
            return None
        cpu = _range(throughput["cpu_seconds_a_million_rows"][_pace(plan, step, kinds)])
        hours = _worker_hours(rows, cpu, worker, _range(throughput["minutes_a_job"]), service, step)
        jobs.append(
            Job(step, rows, hours, _cost(hours, size, worker, service, step, prices, rates["flexible_scheduling"]))
        )
    stored = sum(one.stored_bytes for one in sampled.values())
    where = service.region if service.region in rates["regions"] else f"{service.region}, not listed: a wide range"
    return Estimate(tuple(jobs), stored, rates["currency"], f"list prices of {rates['date']} ({where})")


def _range(value: float | Sequence[float]) -> Range:
    low, high = (value, value) if isinstance(value, int | float) else value
    return float(low), float(high)


def _work(plan: Plan, sampled: Mapping[str, Sampled], kinds: Mapping[str, str]) -> Iterator[tuple[str, Range, Range]]:
    """Of each job the rows and the bytes that it reads."""
    rows = {name: one.rows for name, one in sampled.items()}
    width = {name: one.row_bytes for name, one in sampled.items()}
    for name in plan.sources:
        if name in kinds:
            yield name, rows[name], _times(rows[name], width[name])
    for name, step in plan.steps.items():
        stream = step.query.stream
        read = _sum(rows[table] for table in step.query.tables)
        yield name, read, _times(rows[stream], width[stream])
        rows[name], width[name] = rows[stream], width[stream]
    examples = plan.examples.name
    for name, kind in kinds.items():
        if kind in ("statistics", "transform", "evaluate", "evaluate_tfma"):
            yield name, rows[examples], _times(rows[examples], width[examples])


def _times(rows: Range, width: float) -> Range:
    return rows[0] * width, rows[1] * width


def _pace(plan: Plan, step: str, kinds: Mapping[str, str]) -> str:
    if step in plan.steps:
        return "prepare_partitioned" if plan.steps[step].query.partitioned else "prepare"
    return "ingest" if step in plan.sources else kinds[step].removesuffix("_tfma")


def _worker_hours(rows: Range, cpu: Range, worker: Machine, minutes: Range, service: Dataflow, step: str) -> Range:
    """The work, shared by the vCPUs; and as long as the workers come and go, one machine at least, all at most."""
    keys = service.of_step(step)
    work = (rows[0] / _MILLION * cpu[0] / _HOUR / worker.vcpus, rows[1] / _MILLION * cpu[1] / _HOUR / worker.vcpus)
    least = max(1, keys.workers)
    # The service adds workers where the work lasts: no more of them than have an idle time's worth of it to do.
    most = min(max(keys.max_workers, keys.workers), least + int(work[1] / (minutes[1] / 60)))
    return work[0] + least * minutes[0] / 60, work[1] + most * minutes[1] / 60


def _cost(
    hours: Range,
    size: Range,
    worker: Machine,
    service: Dataflow,
    step: str,
    prices: Mapping[str, Range],
    flexible: float,
) -> Range:
    keys = service.of_step(step)
    share = flexible if keys.flexible_scheduling else 1.0
    low, high = (
        hours[end] * (share * (worker.vcpus * prices["vcpu_hour"][end] + worker.gb * prices["gb_hour"][end]))
        + hours[end] * keys.disk_gb * prices["disk_gb_hour"][end]
        + size[end] / GB * _SHUFFLED_SHARE[end] * prices["shuffle_gb"][end]
        for end in (0, 1)
    )
    return low, high
