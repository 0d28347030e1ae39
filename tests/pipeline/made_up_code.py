"""Made-up packages for tests of the code's digest: written from one text, edited by replacing text."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.code_closure import CodeClosure, code_closure

ENTRY = "app.step:Step"


@dataclass(frozen=True)
class MadeUp:
    """A folder with the package `app`."""

    folder: Path

    @property
    def roots(self) -> dict[str, str]:
        return {"app": str(self.folder / "app")}

    def write(self, text: str) -> "MadeUp":
        """Writes files; a line `# app/module.py` begins one."""
        for name, content in re.findall(r"^# (app\S*|lib\S*)\n(.*?)(?=^# (?:app|lib)|\Z)", text, re.M | re.S):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return self

    def edit(self, old: str, new: str, file: str = "*") -> None:
        """Replaces text, which must be there, in every file that holds it."""
        edited = [path for path in self.folder.rglob("*.py") if old in path.read_text() and file in ("*", path.name)]
        assert edited, f"no file holds {old!r}"
        for path in edited:
            path.write_text(path.read_text().replace(old, new))

    def closure(self, entry: str = ENTRY) -> CodeClosure:
        return code_closure(entry, self.roots)

    @property
    def digest(self) -> str:
        return self.closure().digest


def numbers_of(text: str) -> tuple[list[str], list[str]]:
    """The numbers 1xx and 2xx in a text."""
    numbers = sorted(set(re.findall(r"\b[12]\d\d\b", text)))
    assert numbers
    return [one for one in numbers if one.startswith("1")], [one for one in numbers if one.startswith("2")]


def edits_that_count(code: MadeUp) -> tuple[list[str], list[str]]:
    """Edits each number 1xx and 2xx for itself: those of which the digest changed, and the others."""
    before = code.digest
    found: tuple[list[str], list[str]] = ([], [])
    counting, idle = numbers_of("".join(path.read_text() for path in code.folder.rglob("*.py")))
    for number in [*counting, *idle]:
        code.edit(number, f"{number}7")
        found[code.digest == before].append(number)
        code.edit(f"{number}7", number)
    assert code.digest == before
    return found
