"""What a worker's machine has, by the name of its type; and files of rates."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from beam_jobs.errors import nearest
from pipeline.run_facts import PROJECT

RATES = os.path.join(PROJECT, "configs", "rates")
FILE = "configs/rates/machine_types.yaml"
_NAME = re.compile(r"^(?P<family>[a-z]\w*(-[a-z]+)+)-(?P<vcpus>\d+)$")
_CUSTOM = re.compile(r"^([a-z]\w*-)?custom-(?P<vcpus>\d+)-(?P<mb>\d+)(-ext)?$")


@dataclass(frozen=True)
class Machine:
    """A worker.

    Attributes:
      gb: its memory.
    """

    vcpus: int
    gb: float


def read_rates(name: str) -> Mapping[str, Any]:
    """A file of `configs/rates`."""
    with open(os.path.join(RATES, name), encoding="utf-8") as stream:
        found: Mapping[str, Any] = yaml.safe_load(stream)
    return found


def machine(name: str) -> Machine | None:
    """What a type has; None where neither the file nor its name tells."""
    data = read_rates("machine_types.yaml")
    if name in data["shared"]:
        return Machine(data["shared"][name]["vcpus"], data["shared"][name]["gb"])
    if custom := _CUSTOM.match(name):
        return Machine(int(custom["vcpus"]), int(custom["mb"]) / 1024)
    told = _NAME.match(name)
    family = data["families"].get(told["family"]) if told else None
    if told is None or family is None or int(told["vcpus"]) not in family["vcpus"]:
        return None
    return Machine(int(told["vcpus"]), family["gb"] * int(told["vcpus"]))


def alternatives(name: str) -> str:
    """Words for the nearest type that there is."""
    data = read_rates("machine_types.yaml")
    known = [f"{family}-{vcpus}" for family, one in data["families"].items() for vcpus in one["vcpus"]]
    return nearest(name, [*known, *data["shared"]])
