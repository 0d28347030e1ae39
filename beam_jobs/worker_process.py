"""A worker process of Beam's own job service, tied to its job: neither outlives the other.

That service takes no notice of a worker that is killed, and waits for it for ever; and it lets the workers of a job
that was cancelled go on, and publish. So the worker looks whether its job was cancelled, and whoever starts it calls
this program once more, with `--lost`, if it did not end by itself: that cancels the job, and whoever waits for it hears.
"""

import atexit
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

MODULE = "beam_jobs.worker_process"
LOST = "--lost"
_EVERY = 1.0
_ANSWER_SECONDS = 10.0
_CANCELLED = (beam_job_api_pb2.JobState.CANCELLING, beam_job_api_pb2.JobState.CANCELLED)


@dataclass(frozen=True)
class Job:
    """The job that this process works for."""

    service: Any
    id: str

    @property
    def is_cancelled(self) -> bool:
        """Whether it need not be worked on any more; not, where nobody answers."""
        try:
            request = beam_job_api_pb2.GetJobStateRequest(job_id=self.id)
            return self.service.GetState(request, timeout=_ANSWER_SECONDS).state in _CANCELLED
        except grpc.RpcError:
            return False

    def cancel(self) -> None:
        """Cancels it."""
        self.service.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=self.id), timeout=_ANSWER_SECONDS)


def job_of(options: dict[str, Any]) -> Job | None:
    """The job that was submitted with these options, found by its name; None where it has none, or nobody answers."""
    endpoint, name = options.get("beam:option:job_endpoint:v1"), options.get("beam:option:job_name:v1")
    if not endpoint or not name:
        return None
    service = beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel(endpoint))
    try:
        jobs = service.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=_ANSWER_SECONDS).job_info
    except grpc.RpcError:
        return None
    return next((Job(service, job.job_id) for job in jobs if job.job_name == name), None)


def _end_with(job: Job) -> None:
    while not job.is_cancelled:
        time.sleep(_EVERY)
    os._exit(0)  # from a thread, with a query running in another: nothing is left to tidy up


def main(arguments: list[str]) -> None:
    """Works until the job is over, or, where a worker was lost, cancels the job."""
    job = job_of(json.loads(os.environ.get("PIPELINE_OPTIONS") or "{}"))
    if LOST in arguments:
        if job is not None and not job.is_cancelled:
            print(f"A worker of job {job.id} has ended before its work: the job is cancelled.", file=sys.stderr)
            job.cancel()
        return
    if job is not None:
        threading.Thread(target=_end_with, args=(job,), daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(arguments)
    # The job waits for its workers to be gone, one after the other; taking thousands of modules down would take long.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
