"""Beam's portable runner, made to wait as long as a job takes, to notice when there is nothing to wait for, and to cancel.

Beam's own gives up a job after five minutes, leaves it running at the service when the process is interrupted, and waits
five minutes for a service that is not there.
"""

import uuid
from typing import Any

import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import portable_runner

from pipeline.remote.errors import RemoteJobError
from pipeline.remote.portable_job import PortableResult, words

_CONNECT_SECONDS = 15.0


class PortableRunner(portable_runner.PortableRunner):  # Beam goes by the class's name
    """Named in a pipeline's options as `--runner=pipeline.remote.portable_runner.PortableRunner`."""

    def run_portable_pipeline(self, pipeline: Any, options: Any) -> PortableResult:
        """Submits the pipeline's job under a name that no other job has; does not wait for it.

        Raises:
          RemoteJobError: the service does not answer, or takes no such job.
        """
        endpoint = options.view_as(PortableOptions).job_endpoint
        _check_reachable(endpoint)
        options.view_as(GoogleCloudOptions).job_name = f"braid-{uuid.uuid4().hex}"
        try:
            return PortableResult(super().run_portable_pipeline(pipeline, options), endpoint)
        except grpc.RpcError as error:
            raise RemoteJobError(
                f"The job service at {endpoint} takes no job: {words(error)}", "Its log tells more."
            ) from error

    def create_job_service_handle(self, job_service: Any, options: Any) -> "_Handle":
        """Beam's, but for the job's name and its messages."""
        return _Handle(job_service, options)


class _Handle(portable_runner.JobServiceHandle):
    def prepare(self, proto_pipeline: Any) -> Any:
        request = beam_job_api_pb2.PrepareJobRequest(
            job_name=self.options.view_as(GoogleCloudOptions).job_name,
            pipeline=proto_pipeline,
            pipeline_options=self.get_pipeline_options(),
        )
        return self.job_service.Prepare(request, timeout=self.timeout)

    def run(self, preparation_id: str) -> tuple[str, Any, Any]:
        """Messages come for as long as the job takes; its state is asked for."""
        request = beam_job_api_pb2.RunJobRequest(preparation_id=preparation_id)
        job = self.job_service.Run(request, timeout=self.timeout).job_id
        return job, self.job_service.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=job)), iter(())


def _check_reachable(endpoint: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise RemoteJobError(
                f"No job service answers at {endpoint}.", "Start it, or name another: --set endpoint=HOST:PORT"
            ) from error
