"""Whether the parameters of a launch are what a Flex Template asks for.

A template's metadata is JSON: `parameters` with `name`, `label`, `helpText`, `isOptional` and `regexes`; the file that
`gcloud dataflow flex-template build` writes holds it under `metadata`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from beam_jobs import storage
from beam_jobs.errors import DataError, listed, nearest
from pipeline.errors import ConfigError
from pipeline.preflight.finding import Finding


def read_metadata(path: str) -> Mapping[str, Any]:
    """The metadata of a template, local or in a bucket.

    Raises:
      ConfigError: the file is not there, or is no template's.
    """
    try:
        data = json.loads(storage.read_text(path))
    except (OSError, DataError) as error:
        raise ConfigError(
            f"The template '{path}' cannot be read: {error}", "`braid deploy template` writes one."
        ) from error
    except ValueError as error:
        raise ConfigError(f"'{path}' is no JSON: {error}.", "`braid deploy template` writes templates.") from error
    metadata = data.get("metadata", data) if isinstance(data, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("parameters"), list):
        raise ConfigError(
            f"'{path}' is no Flex Template: it lists no parameters.", "`braid deploy template` writes one."
        )
    return metadata


def check(metadata: Mapping[str, Any], given: Mapping[str, str], where: str) -> Iterator[Finding]:
    """What is missing, unknown, or not as the template wants it.

    Args:
      metadata: see `read_metadata`.
      given: the values of a launch by name.
      where: the template's file, for what is told.
    """
    known = {str(one["name"]): one for one in metadata["parameters"]}
    for name, parameter in known.items():
        if name in given:
            yield from _fits(parameter, given[name], where)
        elif not parameter.get("isOptional", False):
            label = parameter.get("helpText") or parameter.get("label") or name
            yield Finding(
                f"{where}: {name}",
                f"The template's parameter '{name}' is missing: {label}",
                f"Give it: --parameter {name}=...",
            )
    for name in given:
        if name not in known:
            hint = f"Its parameters: {listed(known, 30)}."
            yield Finding(f"{where}: {name}", f"The template has no parameter '{name}'.{nearest(name, known)}", hint)


def _fits(parameter: Mapping[str, Any], value: str, where: str) -> Iterator[Finding]:
    name = parameter["name"]
    for pattern in parameter.get("regexes", ()):
        try:
            fits = re.fullmatch(pattern, value) is not None
        except re.error as error:
            yield Finding(f"{where}: {name}", f"The template's pattern '{pattern}' for '{name}' is none: {error}.")
            continue
        if not fits:
            yield Finding(f"{where}: {name}", f"'{name}' is '{value}', which does not match {pattern}.")
