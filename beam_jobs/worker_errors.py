"""Errors of workers in other processes: they come back as the text of a traceback, and are told as what they were."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from beam_jobs.errors import BraidError

HINT = "Hint: "
"""How the note begins by which an error's hint travels in its traceback; see `progress.failed`."""
_OURS = ("beam_jobs", "components")
_ENDS = (
    "[while running",
    "The above exception was",
    "During handling of the above",
    "Traceback (most recent",
    "  File ",
)
_NOTES = (HINT, "What it failed on", "It is described in")
_RAISED = re.compile(rf"^(?P<type>(?:{'|'.join(_OURS)})(?:\.\w+)*\.[A-Z]\w*): (?P<message>.*)$")
_FRAME = re.compile(r'^\s+File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$')
_OWN_PATH = re.compile(rf"(?:^|/)(?P<path>(?:{'|'.join(_OURS)})/.+)$")
_STEP = re.compile(r"\s*\[while running '(?P<step>[^']*)'\]")


@dataclass(frozen=True)
class WorkerError:
    """What a worker's traceback tells.

    Attributes:
      error: Braid's own error, its hint with it, as it was raised there.
      kept: the sentence on where the data that it failed on is kept, '' for none.
      frames: Braid's own frames, the outermost first, as `beam_jobs/fused.py:84 process`.
    """

    error: BraidError
    kept: str
    frames: tuple[str, ...]


def from_traceback(text: str) -> WorkerError | None:
    """Finds the last of Braid's own errors in a traceback; None where there is none, as for a bug or a lost worker."""
    lines = text.splitlines()
    places = [(place, found) for place, line in enumerate(lines) if (found := _RAISED.match(line))]
    if not places:
        return None
    place, raised = places[-1]
    body = list(_until_it_ends(lines[place + 1 :]))
    notes = [at for at, line in enumerate(body) if line.startswith(_NOTES)]
    message = [raised["message"], *body[: notes[0] if notes else len(body)]]
    hint = next((line.removeprefix(HINT) for line in body if line.startswith(HINT)), "")
    kept = next((line for line in body if line.startswith(_NOTES[1:])), "")
    kind = _kinds().get(raised["type"], BraidError)
    told = _STEP.sub("", "\n".join(message)).strip()
    return WorkerError(kind(told, hint), kept, tuple(own_frames(text)))


def _until_it_ends(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.strip().startswith(_ENDS) or line.startswith(_ENDS):
            return
        yield line


def _kinds() -> dict[str, type[BraidError]]:
    """Every kind of error that is loaded here and is made as `BraidError` is."""
    found, todo = dict[str, type[BraidError]](), [BraidError]
    while todo:
        kind = todo.pop()
        if kind.__init__ is BraidError.__init__:
            found[f"{kind.__module__}.{kind.__qualname__}"] = kind
        todo += kind.__subclasses__()
    return found


def own_frames(text: str) -> list[str]:
    """The frames of Braid's own code in a traceback, without what Beam puts around them; each once."""
    frames: dict[str, None] = {}
    for line in text.splitlines():
        frame = _FRAME.match(line)
        path = _OWN_PATH.search(frame["path"]) if frame else None
        if frame and path:
            frames[f"{path['path']}:{frame['line']} {frame['function']}"] = None
    return list(frames)
