"""Layers of settings: a base file, overlays, and `--set key=value`, each value with the place it came from."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from beam_jobs.errors import listed, nearest
from pipeline.errors import ConfigError

Path = tuple[str | int, ...]


@dataclass
class Settings:
    """Merged settings.

    Attributes:
      values: the nested mapping.
      origins: for each key's path, `file:line` or `--set`.
      folder: the folder of the base file, from which relative paths count.
    """

    values: dict[str, Any]
    folder: str
    base: str
    origins: dict[Path, str] = field(default_factory=dict)

    def origin(self, path: Path) -> str:
        """Where the value at `path`, or the nearest mapping around it, was written."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, self.base)


def load(base: str, overlays: Sequence[str] = (), assignments: Sequence[str] = ()) -> Settings:
    """Reads the base file, lays each overlay over it, then each `key.sub=value`.

    Mappings are merged key by key; a list or a scalar replaces what was there.

    Raises:
      ConfigError: a file is missing or is no YAML mapping, an assignment has no `=`, or an address holds a password.
    """
    settings = Settings({}, os.path.dirname(os.path.abspath(base)), base)
    for path in (base, *overlays):
        node = _compose(path)
        values = _construct(path, node)
        _merge(settings.values, values)
        settings.origins.update(_lines(path, node, ()))
    for assignment in assignments:
        _assign(settings, assignment)
    _refuse_passwords(settings, settings.values, ())
    return settings


def _refuse_passwords(settings: Settings, value: Any, path: Path) -> None:
    """An address is recorded, shown and sent to workers, who could not read by it without its password."""
    from beam_jobs import storage

    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        _refuse_passwords(settings, item, (*path, key if isinstance(key, int) else str(key)))
    if isinstance(value, str) and storage.holds_password(value):
        dotted, scheme = ".".join(map(str, path)), value.partition("://")[0].strip()
        raise ConfigError(
            f"{settings.origin(path)}: '{dotted}' is an address with a password in it ({scheme}://...).",
            storage.PASSWORD_HINT,
        )


def _compose(path: str) -> yaml.Node:
    if not os.path.isfile(path):
        raise ConfigError(
            f"There is no configuration file '{path}'.", "`braid init` writes one; see configs/pipelines/ for examples."
        )
    try:
        with open(path, encoding="utf-8") as stream:
            node = yaml.compose(stream, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path}:{line}: this is not valid YAML: {error.problem}.",
            "Look at the indentation and the quotes on that line and the one before.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not a YAML text file: {error}.", "Save it as UTF-8 text.") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{path}: the file holds no settings.", "The top level must be `key: value` lines, such as `name: flights`."
        )
    return node


def _construct(path: str, node: yaml.Node) -> dict[str, Any]:
    loader = yaml.SafeLoader("")
    _check_keys(path, node)
    try:
        values: dict[str, Any] = loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path}:{line}: {error.problem}.", "Only plain YAML values are read; tags are not."
        ) from error
    finally:
        loader.dispose()
    return values


def _check_keys(path: str, node: yaml.Node) -> None:
    """YAML lets the last of two equal keys win in silence; here that is a mistake."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise ConfigError(
                f"{path}:{line}: the key '{key.value}' stands on line {lines[key.value]} already.",
                "Keep one of them, or put what is under both under one.",
            )
        if isinstance(key.value, str):
            lines[key.value] = line
        _check_keys(path, value)


def _lines(path: str, node: yaml.Node, prefix: Path) -> Iterator[tuple[Path, str]]:
    yield prefix, f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*prefix, str(key.value))
            yield from _lines(path, value, here)
            yield here, f"{path}:{key.start_mark.line + 1}"
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(path, value, (*prefix, index))


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _assign(settings: Settings, assignment: str) -> None:
    dotted, equals, text = assignment.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set '{assignment}': expected `key=value`.", "For example: --set train.rounds=200")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set '{assignment}': the value is not valid YAML.",
            "Quote it for the shell: --set 'select.exclude=[a, b]'",
        ) from error
    target: Any = settings.values
    path: list[str | int] = []
    for key in keys[:-1]:
        target = _inside(target, key, assignment, path)
    if not isinstance(target, dict):
        raise ConfigError(
            f"--set '{assignment}': '{'.'.join(keys[:-1])}' is a list.",
            "Name one of its items and a key in it, such as train.boosted.rounds.",
        )
    target[keys[-1]] = value
    settings.origins[(*path, keys[-1])] = f"--set {dotted}"


def _inside(target: Any, key: str, assignment: str, path: list[str | int]) -> Any:
    """One level down: a group by its key, an item of a list by its `name`; `path` grows by where that is."""
    if isinstance(target, list):
        names = [item.get("name") if isinstance(item, dict) else None for item in target]
        if key not in names:
            raise ConfigError(
                f"--set '{assignment}': '{'.'.join(map(str, path))}' has no item named '{key}'.{nearest(key, filter(None, names))}",
                f"Its items: {listed(map(str, filter(None, names)))}.",
            )
        path.append(names.index(key))
        return target[names.index(key)]
    if not isinstance(target.setdefault(key, {}), dict | list):
        raise ConfigError(
            f"--set '{assignment}': '{key}' is not a group of settings.",
            "Name a key inside a group, such as train.rounds.",
        )
    path.append(key)
    return target[key]
