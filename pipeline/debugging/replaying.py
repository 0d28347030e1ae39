"""What `replay.py` stands on: the recorded inputs as TFX artifacts, fresh places for outputs, the debugger, the verdict."""

import argparse
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from beam_jobs import fused, progress
from beam_jobs.errors import BraidError
from beam_jobs.shrinking import signature
from components.flat_tfxio import accept_flat_parquet
from pipeline.cli import quiet
from pipeline.debugging import debugger, redirection, sampling
from pipeline.debugging.capsule import REPLAYS, Capsule, Stored
from pipeline.debugging.changes import changed
from pipeline.debugging.comparison import Comparison, compare
from pipeline.errors import RunError, explain

BEAM = (
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=1",  # one thread works, so that a debugger follows one chunk at a time
    "--sdk_container_image=none",
)

_UNTOLD = "how, is not on record"
"""Said of a failure in a pipeline that Braid did not launch."""


class Replay(contextlib.AbstractContextManager["Replay"]):
    """One replay of a capsule; around the step it waits for a debugger where asked to, and takes down what is raised.

    Attributes:
      inputs: as the step had them.
      outputs: of the same types, in a fresh folder.
      parameters: as the step had them, but for what is to be changed and places that it would write to beside its outputs.
    """

    def __init__(self, folder: str, arguments: Sequence[str] = ()) -> None:
        self._options = _parsed(arguments)
        self._open = contextlib.ExitStack()
        self._open.enter_context(quiet.silence(self._options.verbose))
        self.capsule = Capsule.load(folder)
        self.inputs = {key: [self._input(key, one) for one in found] for key, found in self.capsule.inputs.items()}
        wanted = changed(self.capsule.parameters, self._options.set, self._options.sql)
        self.folder = _next(self.capsule.path(REPLAYS))
        self.outputs = self._outputs()
        self.parameters = redirection.redirect(self.capsule, wanted, os.path.join(self.folder, "places"))
        self.error: BaseException | None = None

    def context(self) -> BaseExecutor.Context:
        """What TFX hands an executor: Beam runs in this process."""
        temporary = os.path.join(self.folder, "tmp")
        os.makedirs(temporary, exist_ok=True)
        if self._reads_tables_by_tfx():
            accept_flat_parquet()
        return BaseBeamExecutor.Context(
            beam_pipeline_args=list(BEAM), tmp_dir=temporary, unique_id=str(self.capsule.execution)
        )

    def _reads_tables_by_tfx(self) -> bool:
        """Whether a step that is not Braid's was given Braid's tables as examples, by a pipeline written by hand."""
        uris = [artifact.uri for artifacts in self.inputs.values() for artifact in artifacts]
        return not self.capsule.executor.startswith("components.") and any(map(sampling.is_table, uris))

    def __enter__(self) -> Self:
        if self._options.listen is not None:
            debugger.wait(self._options.listen)
        self._open.enter_context(progress.original_errors())
        self._open.enter_context(fused.batches_in_sight())
        if not self._options.verbose:
            self._open.enter_context(quiet.worker_tracebacks_held())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        try:
            self._open.__exit__(kind, error, trace)
        except Exception as original:  # the error that a worker thread raised, in the place of Beam's retelling of it
            self.error = original
        if self.error is not None and self._options.pdb:
            debugger.post_mortem(self.error)
        return isinstance(self.error, Exception)

    def compare(self) -> list[Comparison]:
        """Each output held against what the step wrote when it ran."""
        names = redirection.names(self.capsule, self.parameters)
        return [
            compare(key, stored.original, made.uri, names)
            for key, found in self.capsule.outputs.items()
            for stored, made in zip(found, self.outputs[key], strict=True)
        ]

    def verdict(self) -> int:
        """Prints what the replay came to, and returns the exit code: 0 when it is as it was."""
        found = self._found()
        if self._options.json:
            print(json.dumps(found, indent=2))
        else:
            print("\n".join(_worded(found)))
        return 0 if found["same"] else 1

    def _found(self) -> dict[str, Any]:
        failed = self._failed_before()
        if self.error is not None:
            message, hint = explain(self.error)
            recorded = self.capsule.facts.get("error_signature")
            same = bool(failed) and recorded in (None, signature(self.error))
            return {"step": self.capsule.name, "error": message, "hint": hint, "same": same, "failed_before": failed}
        compared = [] if failed else self.compare()
        return {
            "step": self.capsule.name,
            "outputs": [{"key": c.key, "verdict": c.verdict, "differences": list(c.differences)} for c in compared],
            "folder": self.folder,
            "same": not failed and all(one.same for one in compared),
            "failed_before": failed,
        }

    def _failed_before(self) -> str:
        """How the step failed, '' where it did not."""
        return self.capsule.error or (_UNTOLD if self.capsule.state == "FAILED" else "")

    def _input(self, key: str, stored: Stored) -> Artifact:
        kind = json_format.ParseDict(stored.type, pb.ArtifactType())
        proto = json_format.ParseDict(stored.artifact, pb.Artifact(), ignore_unknown_fields=True)
        made = artifact_utils.deserialize_artifact(kind, proto)
        made.uri = stored.place if "://" in stored.place else self.capsule.path(stored.place)  # whole paths stay
        if not stored.place or ("://" not in made.uri and not os.path.exists(made.uri)):
            raise RunError(
                f"The input '{key}' of step '{self.capsule.step}' is gone; it was '{stored.original}'.",
                "Run the pipeline again, which writes it anew; or make the capsule with --copy where it still is.",
            )
        return made

    def _outputs(self) -> dict[str, list[Artifact]]:
        found = {key: [_of_type(one) for one in stored] for key, stored in self.capsule.outputs.items()}
        if self.capsule.state not in ("COMPLETE", "CACHED"):  # what it has not written is not on record
            for key, kind in _declared(self.capsule.component).items():
                found.setdefault(key, [kind()])
        for key, made in found.items():
            for at, artifact in enumerate(made):
                artifact.uri = os.path.join(self.folder, key, str(at)) if at else os.path.join(self.folder, key)
                os.makedirs(artifact.uri, exist_ok=True)
        return found


def _of_type(stored: Stored) -> Artifact:
    return artifact_utils.deserialize_artifact(json_format.ParseDict(stored.type, pb.ArtifactType()))


def _declared(component: str) -> dict[str, type[Artifact]]:
    """The outputs that a component's specification names, with their types."""
    module, _, name = component.rpartition(".")
    specification = getattr(importlib.import_module(module), name).SPEC_CLASS
    return {key: channel.type for key, channel in specification.OUTPUTS.items()}


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Around a capsule's program: words what its user can mend, and ends it."""
    try:
        yield
    except BraidError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Replays a step with the inputs it had.")
    parser.add_argument("--set", action="append", default=[], metavar="PARAMETER=VALUE", help="change one parameter")
    parser.add_argument("--sql", metavar="FILE", help="run this query in place of the step's")
    parser.add_argument("--pdb", action="store_true", help="stop in the debugger where the step fails")
    parser.add_argument("--listen", type=int, metavar="PORT", help="wait for a debugger on this port of this machine")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--verbose", action="store_true", help="let TFX and Beam log")
    return parser.parse_args(arguments)


def _worded(found: Mapping[str, Any]) -> list[str]:
    if "error" in found:
        words = "Failed as it did" if found["same"] else "Failed"
        words = f"Failed, as it had; {_UNTOLD}" if found["failed_before"] == _UNTOLD else words
        return [f"{words}: {found['error']}", *([found["hint"]] if found["hint"] else [])]
    if found["failed_before"]:
        return [f"The step went through. It had failed: {found['failed_before']}", f"Outputs: {found['folder']}"]
    lines = []
    for one in found["outputs"]:
        lines += [f"{one['key']}: {one['verdict']}", *(f"  {difference}" for difference in one["differences"])]
    return [*lines, f"Outputs: {found['folder']}"]


def _next(folder: str) -> str:
    taken = [int(name) for name in os.listdir(folder) if name.isdecimal()] if os.path.isdir(folder) else []
    path = os.path.join(folder, str(max(taken, default=0) + 1))
    os.makedirs(path)
    return path
