"""Golden files: what Braid makes, kept to be compared with, machine and moment taken out."""

import difflib
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RENEWAL = "python -m pytest --renew-golden tests/golden"
_DIGEST = re.compile(r'"(?:request-[0-9a-f]{12}|[0-9a-f]{16}|[0-9a-f]{32})"')
_MOST_DIFFERENT_LINES = 60


@dataclass(frozen=True)
class Golden:
    """The golden files of one test's run.

    Attributes:
      renew: write them instead of comparing.
      workspace: the folder that stands as `$WORKSPACE` in them.
    """

    renew: bool
    workspace: Path

    def check(self, name: str, made: str, by: str) -> None:
        """Compares `made` with the file `name`, which begins by saying what made it."""
        path = Path(__file__).parent / "expected" / name
        text = f"# Made by: {by}\n# Renew with: {RENEWAL}\n\n{self.portable(made)}"
        if self.renew:
            path.write_text(text)
            return
        expected = path.read_text() if path.exists() else ""
        if text != expected:
            pytest.fail(f"{difference(expected, text, path)}\nIf that is meant: {RENEWAL}", pytrace=False)

    def portable(self, text: str) -> str:
        """The text on any machine: places and digests are named."""
        for place, word in (
            (str(self.workspace), "$WORKSPACE"),
            (sysconfig.get_paths()["purelib"], "$PACKAGES"),
            (str(ROOT), "$PROJECT"),
        ):
            text = text.replace(place, word)
        return _DIGEST.sub('"<digest>"', text)


def difference(expected: str, made: str, path: Path) -> str:
    """The lines that differ, as `diff -u` shows them."""
    lines = difflib.unified_diff(
        expected.splitlines(), made.splitlines(), f"golden {path.name}", "made now", n=2, lineterm=""
    )
    shown = list(lines)
    more = len(shown) - _MOST_DIFFERENT_LINES
    return "\n".join(shown[:_MOST_DIFFERENT_LINES] + ([f"(and {more} lines more)"] if more > 0 else []))
