"""What a check finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import RunError

Severity = Literal["refused", "warning", "note"]
ORDER: tuple[Severity, ...] = ("refused", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
      where: the file, the file with its line, or the key.
      message: what is wrong there.
      hint: what to do about it.
      severity: `refused` keeps a run from starting; a `note` says what was not tried.
    """

    where: str
    message: str
    hint: str = ""
    severity: Severity = "refused"


class PreflightError(RunError):
    """A run was refused before anything was paid for.

    Attributes:
      findings: all that was found, refusals first.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        refused = [one for one in findings if one.severity == "refused"]
        told = [f"{one.where}: {one.message}" + (f"\n  {one.hint}" if one.hint else "") for one in refused]
        what = "1 thing" if len(refused) == 1 else f"{len(refused)} things"
        super().__init__(
            f"{what} would fail on the service:\n" + "\n".join(f"- {text}" for text in told),
            "Nothing was submitted. `braid check CONFIG --target TARGET` checks again.",
        )
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[type["PreflightError"], tuple[Sequence[Finding]]]:  # type: ignore[override]
        return type(self), (self.findings,)


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Refusals first, then warnings, then notes; each once."""
    return sorted(dict.fromkeys(findings), key=lambda one: ORDER.index(one.severity))
