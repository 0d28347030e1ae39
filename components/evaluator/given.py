"""The values that a user wrote, by type: each is returned as it is meant, or refused by name."""

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from beam_jobs.errors import listed, nearest
from components.errors import StepError

STEP = "The evaluator"
Value = TypeVar("Value")


def mapping(value: Any, allowed: Iterable[str] | None, where: str) -> dict[str, Any]:
    """A mapping, whose keys are among `allowed` unless that is None.

    Raises:
      StepError: it is something else, or has another key.
    """
    if not isinstance(value, dict):
        raise StepError(f"{STEP}: {where} must be a mapping, not {json.dumps(value)}.")
    known = list(value if allowed is None else allowed)
    for key in value:
        if key not in known:
            raise StepError(
                f"{STEP}: {where} has no setting '{key}'.{nearest(key, known)}", f"Settings: {listed(known, 30)}."
            )
    return value


def numbers(value: Any, allowed: Iterable[str], where: str) -> dict[str, float]:
    """A mapping to numbers; those that are null are left out.

    Raises:
      StepError: a key or a value is none of those.
    """
    told = {name: number for name, number in mapping(value, allowed, where).items() if number is not None}
    for name, number in told.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise StepError(f"{STEP}: {where}: {name} must be a number, not {json.dumps(number)}.")
    return {name: float(number) for name, number in told.items()}


def names(value: Any, where: str) -> tuple[str, ...]:
    """A list of names, each once.

    Raises:
      StepError: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StepError(f"{STEP}: {where} must be a list of names, not {json.dumps(value)}.")
    return tuple(dict.fromkeys(value))


def items(value: Any, where: str) -> list[Any]:
    """A list.

    Raises:
      StepError: it is something else.
    """
    return _of_type(value, list, "a list", where)


def text(value: Any, where: str) -> str:
    """A text.

    Raises:
      StepError: it is something else.
    """
    return _of_type(value, str, "text", where)


def truth(value: Any, where: str) -> bool:
    """True or false.

    Raises:
      StepError: it is something else.
    """
    return _of_type(value, bool, "true or false", where)


def whole_number(value: Any, where: str) -> int:
    """A whole number.

    Raises:
      StepError: it is something else.
    """
    return _of_type(value, int, "a whole number", where)


def _of_type(value: Any, kind: type[Value], wanted: str, where: str) -> Value:
    """The value, of exactly the type: to Python, true is a whole number, too."""
    if type(value) is not kind:
        raise StepError(f"{STEP}: {where} must be {wanted}, not {json.dumps(value)}.")
    return value


def within(value: float, least: float, most: float | None, where: str) -> None:
    """Refuses a number out of range.

    Raises:
      StepError: it is.
    """
    if value < least or (most is not None and value > most):
        allowed = f"{least:g} or more" if most is None else f"from {least:g} to {most:g}"
        raise StepError(f"{STEP}: {where} is {value:g}; it must be {allowed}.")
