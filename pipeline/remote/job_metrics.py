"""What Dataflow counts of a job: the job's own counters, and what its workers used."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_OWN, _SERVICE = "user", "dataflow/v1b3"
_PIECES = ("_MIN", "_MAX", "_MEAN", "_COUNT")
"""How the console's copies of a distribution end."""
_GB = 10**9
_HOUR, _MB_A_GB = 3600, 1024


@dataclass(frozen=True)
class Metrics:
    """What has been counted of a job so far; what its workers used is complete some minutes after its end.

    Attributes:
      counters: the job's own, by `namespace.name`, of work that is done: what a lost worker counted is left out.
      vcpu_seconds: of all workers.
      memory_gb_seconds: of all workers.
      disk_gb_seconds: of all workers.
      shuffled_gb: what went through the service's shuffle.
      billed_gb: how much of that is paid for.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    vcpu_seconds: float = 0
    memory_gb_seconds: float = 0
    disk_gb_seconds: float = 0
    shuffled_gb: float = 0
    billed_gb: float = 0

    @classmethod
    def of(cls, updates: Iterable[Any]) -> "Metrics":
        """Reads the API's list of metrics."""
        counters, used = Counter[str](), dict[str, float]()
        for update in updates:
            name, value = update.name, update.scalar
            if isinstance(value, bool) or not isinstance(value, int | float) or name.context.get("tentative") == "true":
                continue
            if name.origin == _OWN and not name.name.endswith(_PIECES):
                counters[f"{name.context.get('namespace', '')}.{name.name}"] += int(value)
            elif name.origin == _SERVICE and "step" not in name.context:
                used[name.name] = float(value)
        return cls(
            dict(counters),
            used.get("TotalVcpuTime", 0),
            used.get("TotalMemoryUsage", 0) / _MB_A_GB,
            used.get("TotalPdUsage", 0) + used.get("TotalSsdUsage", 0),
            used.get("TotalShuffleDataProcessed", 0),
            used.get("BillableShuffleDataProcessed", 0),
        )

    def total(self, name: str) -> int:
        """The counters of one name, of all steps of the job: `read`, `rejected`, `written` or `chunks`."""
        return sum(value for counter, value in self.counters.items() if counter.rpartition(".")[2] == name)

    @property
    def facts(self) -> dict[str, int | float]:
        """What the job used, for its record."""
        told: dict[str, int | float] = {
            "vcpu_hours": round(self.vcpu_seconds / _HOUR, 4),
            "memory_gb_hours": round(self.memory_gb_seconds / _HOUR, 4),
            "disk_gb_hours": round(self.disk_gb_seconds / _HOUR, 4),
            "bytes_processed": round(self.shuffled_gb * _GB),
            "bytes_billed": round(self.billed_gb * _GB),
        }
        return {name: value for name, value in told.items() if value}
