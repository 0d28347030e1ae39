"""`--set` and `--sql`: one thing of a step changed, to see what that does to its outputs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from beam_jobs.errors import listed, nearest
from pipeline.errors import RunError


def changed(parameters: Mapping[str, Any], assignments: Sequence[str], sql: str | None) -> dict[str, Any]:
    """The parameters with assignments `parameter=value` made.

    A parameter that is a JSON object, as those of Braid's own steps are, is reached into: by `config.rounds` or, where
    only one parameter has such a key, by `rounds` alone.

    Args:
      parameters: as the step had them.
      assignments: values are YAML.
      sql: a file with a query for the step, or None.

    Raises:
      RunError: there is no such parameter, or an assignment is none.
    """
    made = dict(parameters)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise RunError(f"--set '{assignment}': expected PARAMETER=VALUE.", "For example: --set rounds=10")
        _assign(made, name.strip().split("."), _value(assignment, text))
    if sql is not None:
        _assign(made, ["sql"], query_in(sql))
    return made


def _value(assignment: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise RunError(f"--set '{assignment}': the value is no YAML: {problem}.", "Put quotes around it.") from error


def _assign(parameters: dict[str, Any], path: list[str], value: Any) -> None:
    if path[0] in parameters and len(path) == 1:
        parameters[path[0]] = value
        return
    holders = [name for name, text in parameters.items() if path[0] in _object(text)]
    if path[0] not in parameters and len(holders) != 1:
        known = [*parameters, *(key for text in parameters.values() for key in _object(text))]
        raise RunError(
            f"The step has no parameter '{'.'.join(path)}'.{nearest(path[0], known)}", f"It has: {listed(known, 40)}."
        )
    holder, inner = (path[0], path[1:]) if path[0] in parameters else (holders[0], path)
    document = _object(parameters[holder])
    target: Any = document
    for key in inner[:-1]:
        target = target.get(key) if isinstance(target, dict) else None
    if not isinstance(target, dict) or inner[-1] not in target:
        keys = list(target) if isinstance(target, dict) else list(document)
        raise RunError(
            f"'{holder}' holds no '{'.'.join(inner)}'.{nearest(inner[-1], keys)}", f"It holds: {listed(keys, 40)}."
        )
    target[inner[-1]] = value
    parameters[holder] = json.dumps(document, sort_keys=True)


def _object(text: Any) -> dict[str, Any]:
    """A parameter that is a JSON object, else nothing."""
    if not isinstance(text, str) or not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def query_in(path: str) -> str:
    """The text of a file that was given as --sql.

    Raises:
      RunError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"--sql '{path}' cannot be read: {error}.", "Name a text file with one query.") from error
