"""The launcher of a step whose Beam job a service does: it records the job, and takes up one that was left there."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2

from beam_jobs import publish
from beam_jobs.errors import BraidError
from pipeline import interruption
from pipeline.interruption import Interrupted
from pipeline.remote import journal, staged_inputs, table_files
from pipeline.remote.jobs import Jobs
from pipeline.remote.recorded_job import RecordedJob
from pipeline.remote.step_journal import StepJournal
from pipeline.run_facts import Facts
from pipeline.step_code import StepCode
from pipeline.step_launcher import Reuse, StepLauncher
from pipeline.targets import dataflow_options
from pipeline.targets.target import Dataflow


@dataclass(frozen=True)
class RemoteStep:
    """A step with a job for a service.

    Attributes:
      root: the folder of the pipeline's outputs.
      detached: whether to leave the job as soon as it is submitted.
      left: the job that an earlier process has left for this very step, to be taken up; None for a new one.
    """

    service: Dataflow
    pipeline: str
    run: str
    step: str
    root: str
    detached: bool = False
    left: RecordedJob | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Beam's options that label the job."""
        return dataflow_options.labels(self.service, self.pipeline, self.run, self.step)


def has_job(executor_spec: Any) -> bool:
    """Whether the node runs a Beam job."""
    return isinstance(executor_spec, executable_spec_pb2.BeamExecutableSpec)


class RemoteStepLauncher(StepLauncher):
    """Puts the job on the execution's record as soon as there is one.

    A job that was left is taken up in the execution that waits for it: the executor runs once more with the same
    outputs, and its Beam pipeline finds the job instead of submitting a twin.
    """

    def __init__(self, remote: RemoteStep, facts: Facts, reuse: Reuse, code: StepCode, **arguments: Any) -> None:
        spec = executable_spec_pb2.BeamExecutableSpec()
        spec.CopyFrom(arguments["executor_spec"])
        for label in remote.labels:
            spec.beam_pipeline_args_placeholders.add().value.string_value = label
        arguments["executor_spec"] = spec
        # What waits for a job is not in the cache, and whether it was allowed to be was decided when it began.
        super().__init__(facts, Reuse.FORBIDDEN if remote.left else reuse, code, wants_buckets=True, **arguments)
        self._remote = remote
        self.journal: StepJournal | None = None

    def _register_or_reuse_execution(
        self,
        metadata_handle: metadata.Metadata,
        contexts: list[pb.Context],
        input_artifacts: Mapping[str, Sequence[Any]] | None = None,
        exec_properties: Mapping[str, Any] | None = None,
    ) -> pb.Execution:
        if self._remote.left is None:
            return super()._register_or_reuse_execution(metadata_handle, contexts, input_artifacts, exec_properties)
        (execution,) = metadata_handle.store.get_executions_by_id([self._remote.left.execution])
        return execution

    def _claimed(self, info: data_types.ExecutionInfo) -> str:
        """A job that was left has its folders on record, and may have written to them."""
        return "" if self._remote.left else super()._claimed(info)

    def _run(self, info: data_types.ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
        self.journal = StepJournal(self._remote, info.execution_id, functools.partial(self._add, info.execution_id))
        try:
            with staged_inputs.within_reach(info.input_dict, self._remote.root), journal.writing(self.journal):
                output = super()._run(info)
        except BraidError as error:
            if self.journal.link and self.journal.link not in f"{error}{error.hint}":
                error.hint = f"{error.hint}\nThe job:  {self.journal.link}".lstrip()
            raise
        finally:
            if self.journal.has_ended:  # workers that the service had given up may have written until now
                for artifact in (artifact for made in info.output_dict.values() for artifact in made):
                    publish.discard_attempts(artifact.uri)
        table_files.fill_in(output.execution_properties, info)
        return output

    def interrupted(self, stop: Interrupted, leaves: Callable[[str, str], bool]) -> None:
        """Decides what becomes of the job when this process is told to stop: it is left to itself, or cancelled.

        Args:
          stop: how the process was told.
          leaves: asked, with step and console link, whether to leave the job.

        Raises:
          LeftRunning: the job goes on.
        """
        if self.journal is None or not self.journal.is_running:
            return
        if leaves(self._remote.step, self.journal.link):
            raise self.journal.left("it was asked to stop", stop.exit_code) from stop
        service = self._remote.service
        with interruption.uninterrupted():
            jobs = Jobs(service.project, service.region, service.endpoint)
            self.journal.ended({"job_state": jobs.cancel_and_wait(self.journal.job_id).state})
