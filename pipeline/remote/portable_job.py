"""A job of a portable runner: waited for as long as it takes, told as it goes, and cancelled with this process."""

import logging
import threading
import time

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.runner import PipelineState

from beam_jobs import progress
from beam_jobs.progress import Progress
from pipeline import interruption
from pipeline.remote import outcome
from pipeline.remote.errors import NotReachableError, RemoteJobError

PATIENCE_SECONDS = 60.0
"""How long a service that does not answer is asked again."""
CANCEL_SECONDS = 30.0
"""How long a service may take to end a job that is cancelled."""
_PAUSE = 0.5
_ANSWER_SECONDS = 10.0
_LAST_MESSAGES_SECONDS = 10.0
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_ERROR = beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR
_TOLD = (beam_job_api_pb2.JobMessage.JOB_MESSAGE_WARNING, _ERROR)


def words(error: grpc.RpcError) -> str:
    """What a call failed of, as a sentence."""
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    told = outcome.line(str(details() if details else error) or "no reason given").rstrip(".")
    return f"{told} ({code().name.lower().replace('_', ' ')})." if code else f"{told}."


class PortableResult(portable_runner.PipelineResult):
    """A pipeline that runs as a job of a portable runner.

    Args:
      submitted: the job, as Beam's own runner submitted it.
      endpoint: the service's, for messages.
    """

    def __init__(self, submitted: portable_runner.PipelineResult, endpoint: str) -> None:
        job, callbacks = submitted._job_id, submitted._cleanup_callbacks
        super().__init__(submitted._job_service, job, submitted._message_stream, iter(()), callbacks)
        submitted._cleanup_callbacks = ()
        self._endpoint = endpoint
        self._stirred = threading.Event()
        self._hearing = threading.Thread(target=self._hear, name="job-messages", daemon=True)
        self._told = self._ripe = 0

    def job_id(self) -> str:
        """The service's id of the job."""
        return str(self._job_id)

    @property
    def state(self) -> str:
        """As it is now.

        Raises:
          NotReachableError: the service does not answer, or does not know the job.
        """
        request, until = beam_job_api_pb2.GetJobStateRequest(job_id=self._job_id), time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self._job_service.GetState(request, timeout=_ANSWER_SECONDS)
                self._state = self.runner_api_state_to_pipeline_state(answer.state)
                return str(self._state)
            except grpc.RpcError as error:
                if error.code() not in _PASSING or time.monotonic() > until:
                    raise self._lost(error) from error
            progress.note(f"the job service at {self._endpoint} does not answer")
            time.sleep(_PAUSE)

    def wait_until_finish(self, duration: int | None = None) -> str:
        """Waits for the end of the job; cancels it if this process is interrupted.

        Args:
          duration: milliseconds after which to return the state that the job has then; None to wait for its end.

        Returns:
          The state, `DONE` for a job that has ended.

        Raises:
          RuntimeError: the job failed; the text is the service's, the worker's traceback with it.
          RemoteJobError: it was cancelled, and not from here.
          NotReachableError: the service does not answer, or does not know the job.
        """
        until = time.monotonic() + duration / 1000 if duration else float("inf")
        try:
            state = self._waited(until)
        except KeyboardInterrupt:
            with interruption.uninterrupted():
                self._stop()
            raise
        except NotReachableError:
            self._cleanup()
            raise
        if PipelineState.is_terminal(state):
            self._cleanup()
            self._hearing.join(_LAST_MESSAGES_SECONDS)
        if state in (PipelineState.CANCELLED, PipelineState.FAILED):
            raise self._error(state)
        self._tell(job_goes_on=not PipelineState.is_terminal(state))
        return state

    def _waited(self, until: float) -> str:
        if not self._hearing.is_alive():
            self._hearing.start()
        while True:
            state = self.state
            if PipelineState.is_terminal(state) or time.monotonic() > until:
                return state
            self._tell(job_goes_on=True)
            progress.note(state.lower())
            if self._stirred.wait(_PAUSE):
                self._stirred.clear()

    def _hear(self) -> None:
        """Takes in messages until the job ends, and with it their stream; the state is looked at elsewhere."""
        try:
            for message in self._message_stream:
                self._messages.append(message)
        except grpc.RpcError as error:
            logging.info("The messages of job %s have stopped: %s", self._job_id, words(error))
        self._stirred.set()

    def _tell(self, job_goes_on: bool) -> None:
        """Hands on what the job got over: warnings, and errors that it was still there half a second after."""
        here = len(self._messages)
        upto, self._ripe = (self._ripe if job_goes_on else here), here
        new, self._told = self._messages[self._told : upto], upto
        for message in (one.message_response for one in new if one.HasField("message_response")):
            logging.info("%s", message.message_text)
            if message.importance in _TOLD:
                progress.told(Progress(line=outcome.line(message.message_text)))

    def _stop(self) -> None:
        """Cancels the job, and waits until the service says that it has ended."""
        request, until = beam_job_api_pb2.CancelJobRequest(job_id=self._job_id), time.monotonic() + CANCEL_SECONDS
        try:
            self._job_service.Cancel(request, timeout=_ANSWER_SECONDS)
            asked = beam_job_api_pb2.GetJobStateRequest(job_id=self._job_id)
            while time.monotonic() < until:
                answer = self._job_service.GetState(asked, timeout=_ANSWER_SECONDS)
                if answer.state in portable_runner.TERMINAL_STATES:
                    return
                time.sleep(_PAUSE)
        except grpc.RpcError as error:
            line = f"Job {self._job_id} may go on at {self._endpoint}, where it could not be cancelled: {words(error)}"
            progress.told(Progress(line=line))
        finally:
            self._cleanup()

    def _error(self, state: str) -> Exception:
        if state == PipelineState.FAILED:
            return RuntimeError(self._last_error_message())
        return RemoteJobError(
            f"Job {self._job_id} was cancelled at {self._endpoint}, and not from here: by somebody, or because a worker "
            "process was lost, as one is that needs more memory than there is.",
            "The service's log says which; the same command runs the step anew.",
        )

    def _lost(self, error: grpc.RpcError) -> NotReachableError:
        return NotReachableError(
            f"The job service at {self._endpoint} does not tell how job {self._job_id} is: {words(error)}",
            "If the service has ended, so has the job: start it and give the same command again.",
        )
