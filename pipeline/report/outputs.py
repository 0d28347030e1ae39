"""The files of a run's artifacts, found by the artifacts' types; what is gone or damaged is noted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from beam_jobs import storage
from pipeline.runs import Output, Run, Step


@dataclass
class Outputs:
    """What the steps of a run made, or took from the cache.

    Attributes:
      unreadable: sentences about files that should be there.
    """

    run: Run
    unreadable: list[str] = field(default_factory=list)

    def of_type(self, kind: str) -> Iterator[tuple[Step, Output]]:
        """The artifacts of a type with the steps that made them, in the order of the steps."""
        for step in self.run.steps:
            if step.is_resolver or not step.ended_well:
                continue
            for outputs in step.outputs.values():
                yield from ((step, output) for output in outputs if output.type == kind)

    def documents(self, kind: str, file: str) -> Iterator[tuple[Step, Output, dict[str, Any]]]:
        """The artifacts of a type whose JSON file can be read, with what is in it."""
        for step, output in self.of_type(kind):
            found = self.document(step, output, file)
            if isinstance(found, dict):
                yield step, output, found

    def document(self, step: Step, output: Output, file: str) -> Any:
        """What a JSON file of an artifact holds; None, and a note, where it cannot be read."""
        path = f"{output.uri.rstrip('/')}/{file}"
        try:
            if not storage.exists(path):
                self.unreadable.append(f"Of the step '{step.name}' the file '{path}' is gone.")
                return None
            return json.loads(storage.read_text(path))
        except (OSError, ValueError) as error:
            self.unreadable.append(f"Of the step '{step.name}' the file '{path}' cannot be read: {error}.")
            return None
