"""A program: runs `braid run` and prints, for each step, which functions of the project its executor really ran.

Usage: python traced_run.py PROJECT CONFIG WORKSPACE. The last line of output is JSON:
{module: [[file, qualified name], ...]}; the name of a class's body is ''.
"""

import json
import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any

IS_FUNCTION = 1  # CO_OPTIMIZED: neither a module's code nor a class's body


class Tracer:
    """Counts for the step whose `Do` runs now, in whatever thread; steps run one after another."""

    def __init__(self, project: str) -> None:
        self.packages = tuple(os.path.join(project, package) for package in ("beam_jobs", "components"))
        self.step: str | None = None
        self.seen: dict[str, set[CodeType]] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if not code.co_filename.startswith(self.packages):
            return
        if code.co_qualname == "Executor.Do":
            self.step = frame.f_globals["__name__"] if event == "call" else None
        if self.step:
            self.seen.setdefault(self.step, set()).add(code)


def main(project: str, config: str, workspace: str) -> None:
    tracer = Tracer(project)
    from pipeline.cli import quiet

    with quiet.silence():
        from pipeline import runner  # noqa: F401  TFX loads before anything is counted
    from pipeline.cli.main import main as braid

    threading.setprofile(tracer)
    sys.setprofile(tracer)
    try:
        braid(["run", config, "--workspace", workspace])
        braid(["score", "sales", "sales.csv", "--to", "scored", "--workspace", workspace])
    except SystemExit as end:
        assert not end.code, end.code
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    print(json.dumps({step: sorted(map(_told, codes)) for step, codes in tracer.seen.items()}))


def _told(code: CodeType) -> list[str]:
    is_body = not code.co_flags & IS_FUNCTION and code.co_name != "<module>"
    return [code.co_filename, "" if is_body else code.co_qualname]


if __name__ == "__main__":
    main(*sys.argv[1:])
