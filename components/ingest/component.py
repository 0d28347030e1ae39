"""Ingest: a source outside the pipeline becomes a table, and the rows that could not be read become rejects."""

from typing import ClassVar

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Rejects, SourceTable
from components.ingest.executor import Executor


class IngestSpec(ComponentSpec):
    """Contract of Ingest."""

    PARAMETERS = {  # noqa: RUF012  TFX's own way to declare them, here and below
        "source": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
        "files": ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS = {  # noqa: RUF012
        "table": ChannelParameter(type=SourceTable),
        "rejects": ChannelParameter(type=Rejects),
    }


class Ingest(base_beam_component.BaseBeamComponent):
    """Reads CSV and JSON Lines into Parquet by a Beam job; registers Parquet where it lies.

    Args:
      source: a `SourceConfig` as JSON, its column types frozen.
      fingerprint: digest of the source's content: when a file changes, the step runs again.
      files: the source's files as JSON, a list of path, size and digest, for the table to tell where it comes from;
        the step digests them itself unless they are given.
    """

    SPEC_CLASS = IngestSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, source: str, fingerprint: str, files: str | None = None) -> None:
        table, rejects = Channel(type=SourceTable), Channel(type=Rejects)
        super().__init__(
            spec=IngestSpec(source=source, fingerprint=fingerprint, files=files, table=table, rejects=rejects)
        )
