"""What a comparison of two runs is made of: changes, and what could not be compared."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal[
    "source file",
    "configuration",
    "code",
    "step",
    "parameter",
    "schema",
    "column",
    "rows",
    "content",
    "statistics",
    "feature",
    "model",
    "metric",
    "artifact",
    "blessing",
    "push",
    "outcome",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Causes before their effects."""


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Attributes:
      kind: what sort of thing.
      where: which: a file, a dotted key, `step.output`, a metric of a split.
      before: in the first run; None where it was not there.
      after: in the second run; None where it is not there.
      size: how far a measured value moved: a drift from 0 to 1, a metric's difference.
      beyond: whether a measured value lies outside the first run's confidence interval, or a drift beyond its bound;
        None where there is neither.
      note: in words or lines what the values do not tell, such as the difference of two texts.
    """

    kind: Kind
    where: str
    before: Any
    after: Any
    size: float | None = None
    beyond: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """What came out of comparing one sort of thing.

    Attributes:
      compared: how many things were looked at.
      unknown: in sentences, what could not be compared, and why.
    """

    changes: tuple[Change, ...] = ()
    compared: int = 0
    unknown: tuple[str, ...] = ()

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(
            (*self.changes, *other.changes), self.compared + other.compared, (*self.unknown, *other.unknown)
        )


def total(comparisons: Iterable[Comparison]) -> Comparison:
    """Several comparisons as one."""
    return sum(comparisons, Comparison())


def by_key(kind: Kind, where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """A change for each key whose value differs; `where` stands before the key."""
    keys = list(dict.fromkeys([*before, *after]))
    found = (
        Change(kind, f"{where}{key}", before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key) or (key in before) != (key in after)
    )
    return Comparison(tuple(found), len(keys))


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys; lists are values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return dict(_leaves(value, prefix))


def _leaves(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, dotted)
        else:
            yield dotted, value


def digests(kind: Kind, where: str, before: Any, after: Any) -> Comparison:
    """A change of content that nothing but its digest tells; nothing where a side did not record one."""
    if before is None or after is None or before == after:
        return Comparison((), 1)
    return Comparison((Change(kind, where, {"digest": before}, {"digest": after}, note="content"),), 1)
