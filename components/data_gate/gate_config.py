"""What a DataGate is told: drift bounds, tolerance, and whether an anomaly stops the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.errors import listed, nearest
from components.errors import StepError


@dataclass(frozen=True)
class DriftBounds:
    """The largest drift of a column, from 0 (same distribution) to 1 (nothing in common).

    Text drifts by the largest change of one value's share of the rows (L-infinity), numbers by the Jensen-Shannon
    divergence of their histograms.

    Attributes:
      default: for the columns not named; None for no bound.
      columns: by name; None for no bound.
    """

    default: float | None = None
    columns: Mapping[str, float | None] = field(default_factory=dict)

    def of(self, column: str) -> float | None:
        """The column's bound, or None."""
        return self.columns.get(column, self.default)

    def __bool__(self) -> bool:
        return self.default is not None or any(bound is not None for bound in self.columns.values())


@dataclass(frozen=True)
class GateConfig:
    """Configuration of one DataGate.

    Attributes:
      drift: bounds between `train` and each other split. None unless configured: a split by time drifts as it must.
      drift_from_previous: bounds between a split and the same split of the previous statistics.
      max_out_of_domain_share: the share of rows, 0 to 1, that may hold a text outside its column's list of allowed
        values; None leaves it to the schema (`min_domain_mass`; a schema that does not say allows none).
      stops: whether an anomaly stops the run, or is recorded as a warning.
      unused_columns: columns that are no features; they may be null in all rows.
    """

    drift: DriftBounds = DriftBounds()
    drift_from_previous: DriftBounds = DriftBounds()
    max_out_of_domain_share: float | None = None
    stops: bool = True
    unused_columns: tuple[str, ...] = ()


_KEYS = ("drift", "drift_from_previous", "max_out_of_domain_share", "anomalies", "unused_columns")


def parse_config(text: str) -> GateConfig:
    """Reads the component's `config` parameter: JSON with any of `drift`, `drift_from_previous` (each
    `{"default": bound, "columns": {name: bound}}`), `max_out_of_domain_share` and `anomalies` (`stop` or `warn`).

    Raises:
      StepError: an unknown key, or a value that is no share.
    """
    data = json.loads(text or "{}")
    _only(data, _KEYS, "DataGate's configuration")
    anomalies = data.get("anomalies", "stop")
    if anomalies not in ("stop", "warn"):
        raise StepError(
            f"DataGate's 'anomalies' is '{anomalies}'.{nearest(str(anomalies), ('stop', 'warn'))}",
            "It may be 'stop' (the run ends) or 'warn' (they are recorded).",
        )
    return GateConfig(
        drift=parse_bounds(data.get("drift"), "drift"),
        drift_from_previous=parse_bounds(data.get("drift_from_previous"), "drift_from_previous"),
        max_out_of_domain_share=_share(data.get("max_out_of_domain_share"), "max_out_of_domain_share"),
        stops=anomalies == "stop",
        unused_columns=tuple(data.get("unused_columns") or ()),
    )


def _only(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in known:
            raise StepError(f"{where} has an unknown key '{key}'.{nearest(key, known)}", f"Known: {listed(known)}.")


def parse_bounds(data: Mapping[str, Any] | None, key: str) -> DriftBounds:
    """Reads `{"default": bound, "columns": {name: bound}}`; `key` names it in messages.

    Raises:
      StepError: an unknown key, or a value that is no share.
    """
    data = data or {}
    _only(data, ("default", "columns"), f"DataGate's '{key}'")
    columns = data.get("columns") or {}
    return DriftBounds(
        _share(data.get("default"), f"{key}.default"),
        {column: _share(bound, f"{key}.columns.{column}") for column, bound in columns.items()},
    )


def _share(value: Any, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise StepError(f"DataGate's '{key}' is {value!r}.", "It must be a number from 0 to 1.")
    return float(value)
