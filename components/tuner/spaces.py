"""What a search tries: of each parameter a range or a list of choices, Braid's own or the user's."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.errors import listed, nearest
from components.errors import StepError

RANGE_KEYS = ("low", "high", "log")


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included.

    Attributes:
      log: whether to search by orders of magnitude.
      whole: whether only whole numbers are tried.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def extremes(self) -> tuple[Any, ...]:
        """What to try for whether it is allowed at all."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """Some values, of any kind that JSON knows."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    @property
    def extremes(self) -> tuple[Any, ...]:
        """What to try for whether it is allowed at all."""
        return self.values

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as texts."""
        return tuple(value if isinstance(value, str) else json.dumps(value) for value in self.values)


Space = Mapping[str, Range | Choice]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a family of models.

    Attributes:
      known: their names; empty where any name goes, as with a model of the user's own.
      whole: those that take whole numbers alone.
      synonyms: other names of some of them.
      fixed: names that cannot be searched, each with the reason.
    """

    known: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)


def read_space(given: Mapping[str, Any], parameters: Parameters) -> Space:
    """Reads the user's space.

    Raises:
      StepError: it is empty, a name is not known, a parameter is named twice, or a range or a list is not one.
    """
    _check_names(given, parameters)
    return {name: _read(name, spec, parameters) for name, spec in given.items()}


def _check_names(given: Mapping[str, Any], parameters: Parameters) -> None:
    seen: dict[str, str] = {}
    for name in given:
        if name in parameters.fixed:
            raise StepError(f"Tuner: '{name}' cannot be searched: {parameters.fixed[name]}.")
        if parameters.known and name not in parameters.known:
            raise StepError(
                f"Tuner: space: there is no parameter '{name}' to search.{nearest(name, parameters.known)}",
                f"Parameters: {listed(parameters.known, 40)}.",
            )
        own = parameters.synonyms.get(name, name)
        if own in seen:
            raise StepError(f"Tuner: space: '{seen[own]}' and '{name}' are the same parameter.", "Name it once.")
        seen[own] = name


def _read(name: str, spec: Any, parameters: Parameters) -> Range | Choice:
    if isinstance(spec, list):
        return _choice(name, spec)
    if isinstance(spec, dict):
        return _range(name, spec, parameters)
    raise StepError(
        f"Tuner: space: '{name}' is {json.dumps(spec)}, which is neither a range nor a list.",
        f"Write {name}: {{low: 1, high: 10}} or {name}: [1, 5, 10]; a fixed value belongs to the trainer's 'parameters'.",
    )


def _choice(name: str, values: list[Any]) -> Choice:
    if not values:
        raise StepError(f"Tuner: space: '{name}' lists no value.", f"Write for example {name}: [1, 5, 10].")
    choice = Choice(tuple(tuple(value) if isinstance(value, list) else value for value in values))
    if len(set(choice.labels)) < len(values):
        raise StepError(f"Tuner: space: '{name}' lists a value twice: {json.dumps(values)}.", "List each value once.")
    return Choice(tuple(values))


def _range(name: str, spec: dict[str, Any], parameters: Parameters) -> Range:
    for key in spec:
        if key not in RANGE_KEYS:
            raise StepError(
                f"Tuner: space: the range of '{name}' has no '{key}'.{nearest(str(key), RANGE_KEYS)}",
                f"A range has {listed(RANGE_KEYS)}.",
            )
    low, high = (_number(name, spec, key) for key in ("low", "high"))
    log = spec.get("log", False)
    if not isinstance(log, bool):
        raise StepError(f"Tuner: space: 'log' of '{name}' must be true or false, not {json.dumps(log)}.")
    if low > high:
        raise StepError(f"Tuner: space: '{name}' has low {low:g} above high {high:g}.", "Swap them.")
    if log and low <= 0:
        raise StepError(
            f"Tuner: space: '{name}' is searched by orders of magnitude from low {low:g}.",
            "With log: true, low must be above 0.",
        )
    return Range(low, high, log, _is_whole(name, low, high, parameters))


def _number(name: str, spec: Mapping[str, Any], key: str) -> float:
    if key not in spec:
        raise StepError(f"Tuner: space: the range of '{name}' lacks '{key}'.", f"Write {name}: {{low: 1, high: 10}}.")
    value = spec[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StepError(f"Tuner: space: '{key}' of '{name}' must be a number, not {json.dumps(value)}.")
    number: float = value
    return number


def _is_whole(name: str, low: float, high: float, parameters: Parameters) -> bool:
    whole = isinstance(low, int) and isinstance(high, int)
    if name in parameters.whole and not whole:
        raise StepError(f"Tuner: space: '{name}' takes whole numbers, not those from {low} to {high}.")
    return name in parameters.whole or (whole and not parameters.known)


def decoded(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a search drew, as the trainer takes it: choices by their label."""
    found = {}
    for name, drawn in values.items():
        part = space[name]
        found[name] = part.values[part.labels.index(drawn)] if isinstance(part, Choice) else drawn
    return found


def encoded(space: Space, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The other way round; None where a value is missing or lies outside of the space."""
    found: dict[str, Any] = {}
    for name, part in space.items():
        if name not in values or values[name] not in part:
            return None
        found[name] = part.labels[part.values.index(values[name])] if isinstance(part, Choice) else values[name]
    return found
