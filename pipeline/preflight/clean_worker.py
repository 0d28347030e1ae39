"""The program of a clean interpreter: imports what a worker could import, nothing else, and executes the graphs it is given.

Run by its path, with `-I -S`; it must not import anything of Braid's but what the wheel holds. Requests and answers are
lines of JSON; the first line says what may be imported.
"""

import importlib
import importlib.machinery
import importlib.metadata
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_EXTENSIONS = (".py", ".so", ".pyd", ".pyc")


class PinnedFinder(importlib.machinery.PathFinder):
    """Finds modules of the standard library, the wheel, and the pinned packages alone."""

    folders: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        """As its base does, but for what another package has installed."""
        spec = super().find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.startswith(cls.folders) or spec.origin in cls.files:
            return spec
        return None

    @classmethod
    def find_distributions(cls, *arguments: Any, **named: Any) -> Iterator[Any]:
        """Those of the pinned packages: what others register with each other is not there."""
        for one in super().find_distributions(*arguments, **named):
            if _normal(one.metadata["Name"] or "") in cls.names:
                yield one


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def allow(folders: Sequence[str], packages: Iterable[str]) -> None:
    """Lets only these packages of the folders be imported."""
    names = frozenset(map(_normal, packages))
    files: set[str] = set()
    for one in importlib.metadata.distributions(path=list(folders)):
        if _normal(one.metadata["Name"] or "") in names:
            place = str(one.locate_file(""))
            for path in one.files or ():
                if path.suffix in _EXTENSIONS:
                    files.add(os.path.join(place, str(path)))
    PinnedFinder.folders = tuple(f"{folder.rstrip(os.sep)}{os.sep}" for folder in folders)
    PinnedFinder.files, PinnedFinder.names = frozenset(files), names
    sys.path += folders
    found = [PinnedFinder if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
    sys.meta_path[:] = found


def load(modules: Iterable[str]) -> dict[str, Any]:
    """Imports modules; what the first that fails has said."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            return {"error": traceback.format_exc(), "module": name}
    return {}


def execute(path: str) -> dict[str, Any]:
    """Executes a pipeline's graph; how it went wrong, if it did."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.portability import python_urns
        from apache_beam.portability.api import beam_runner_api_pb2
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

        with open(path, "rb") as stream:
            graph = beam_runner_api_pb2.Pipeline.FromString(stream.read())
        for environment in graph.components.environments.values():
            environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
            del environment.dependencies[:]
        FnApiRunner().run_via_runner_api(graph, PipelineOptions([]))
    except BaseException:
        return {"error": traceback.format_exc()}
    return {}


def main() -> None:
    """Answers until nothing more is asked."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        if "wheel" in request:
            sys.path.insert(0, request["wheel"])
            if request["packages"]:
                allow(request["folders"], request["packages"])
            else:
                sys.path += request["folders"]
            answer = load(request["modules"])
        else:
            answer = execute(request["graph"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
