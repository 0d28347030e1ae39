"""Which steps of a pipeline run, come from the cache, or are left out."""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from beam_jobs.errors import listed, nearest
from pipeline.errors import RunError


class Mode(enum.Enum):
    """What is done with a step."""

    RUN = "run, or take from the cache"
    FORCE = "run, whatever the cache holds"
    REUSE = "take from the cache; it may not run"
    LEAVE = "leave out"


@dataclass(frozen=True)
class Selection:
    """What the user asked for.

    Attributes:
      resume: the run to go on with; '' for a new one.
      first: run this step and all that depends on it, whatever the cache holds.
      last: run no step but this one and those that it depends on.
      only: run this step alone.
    """

    resume: str = ""
    first: str = ""
    last: str = ""
    only: str = ""

    @property
    def options(self) -> list[str]:
        """The choice of steps as it was typed."""
        named = {"--from": self.first, "--to": self.last, "--only": self.only}
        return [word for option, step in named.items() if step for word in (option, step)]

    @property
    def forcing(self) -> str:
        """The option that makes steps run whatever the cache holds, as it was typed; '' for none."""
        if self.only:
            return f"--only {self.only}"
        return f"--from {self.first}" if self.first else ""


def modes(selection: Selection, upstream: Mapping[str, Collection[str]]) -> dict[str, Mode]:
    """What to do with each step.

    Args:
      selection: what the user asked for.
      upstream: for each step, in the order in which they run, the steps right before it.

    Raises:
      RunError: a step is unknown, or the options contradict each other.
    """
    for option, step in (("--from", selection.first), ("--to", selection.last), ("--only", selection.only)):
        if step and step not in upstream:
            raise RunError(
                f"{option}: the pipeline has no step '{step}'.{nearest(step, upstream)}",
                f"Its steps: {listed(upstream, 40)}.",
            )
    if selection.only and (selection.first or selection.last):
        raise RunError("--only goes with neither --from nor --to.", "It names the one step that runs.")
    before = {step: _reached(step, upstream) for step in upstream}
    if selection.only:
        return {step: _only(step, selection.only, before) for step in upstream}
    if selection.first and selection.last and selection.first not in {selection.last, *before[selection.last]}:
        raise RunError(
            f"Step '{selection.last}' (--to) does not depend on '{selection.first}' (--from), so nothing would run again.",
            f"Steps before '{selection.last}': {listed(before[selection.last], 40) or 'none'}.",
        )
    return {step: _mode(step, selection, before) for step in upstream}


def _only(step: str, only: str, before: Mapping[str, Collection[str]]) -> Mode:
    if step == only:
        return Mode.FORCE
    return Mode.REUSE if step in before[only] else Mode.LEAVE


def _mode(step: str, selection: Selection, before: Mapping[str, Collection[str]]) -> Mode:
    if selection.last and step != selection.last and step not in before[selection.last]:
        return Mode.LEAVE
    if selection.first and (step == selection.first or selection.first in before[step]):
        return Mode.FORCE
    return Mode.RUN


def _reached(step: str, upstream: Mapping[str, Collection[str]]) -> list[str]:
    """The steps that a step depends on, in the order in which they run."""
    found, waiting = set[str](), list(upstream[step])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += upstream[name]
    return [name for name in upstream if name in found]
