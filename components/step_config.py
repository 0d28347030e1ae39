"""The structured configuration of a step: JSON in one execution parameter, checked against a dataclass."""

import dataclasses
import json
from typing import Any, TypeVar

from beam_jobs.errors import listed, nearest
from components.errors import StepError

Config = TypeVar("Config")


def parse(config_class: type[Config], text: str, step: str) -> Config:
    """Builds a config dataclass, whose fields all have defaults, from a JSON object; '' stands for the defaults.

    Raises:
      StepError: an unknown key, or a value of another type than the field's default.
    """
    given = json.loads(text or "{}")
    if not isinstance(given, dict):
        raise StepError(f"{step}: the configuration must be a mapping, not {json.dumps(given)}.")
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    for key in given:
        if key not in fields:
            raise StepError(
                f"{step}: there is no setting '{key}'.{nearest(key, fields)}", f"Settings: {listed(fields, 30)}."
            )
    defaults = config_class()
    return config_class(**{key: _like(getattr(defaults, key), value, f"{step}: {key}") for key, value in given.items()})


def _like(default: object, value: object, where: str) -> Any:
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is type(default):
        return value
    wanted = {tuple: "a list of names", dict: "a mapping", str: "text", bool: "true or false", int: "a whole number"}
    raise StepError(f"{where} must be {wanted.get(type(default), 'a number')}, not {json.dumps(value)}.")


def one_of(value: str, allowed: tuple[str, ...], where: str) -> str:
    """Returns the value when it is one of the allowed words.

    Raises:
      StepError: it is not.
    """
    if value not in allowed:
        raise StepError(f"{where} is '{value}'.{nearest(value, allowed)}", f"Allowed: {listed(allowed)}.")
    return value
