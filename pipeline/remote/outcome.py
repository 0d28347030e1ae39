"""What a job's messages say: one line each while it runs, and in the end the error that it ended of."""

from collections.abc import Sequence
from dataclasses import dataclass

from beam_jobs.errors import BraidError
from beam_jobs.worker_errors import WorkerError, from_traceback, own_frames
from pipeline.lineage.wording import printable
from pipeline.remote import refusals
from pipeline.remote.errors import RemoteJobError
from pipeline.remote.jobs import ERROR, JobState, Message

_TRACEBACK = "Traceback (most recent call last)"
_SUMMARY = ("Workflow failed.", "The workflow failed")
"""How the message begins that the service ends a failed job with; what comes before says more."""
_LONGEST = 400
_TOLD = 3


@dataclass(frozen=True)
class Job:
    """What the error of a job names.

    Attributes:
      link: its page in the console.
      account: whose credentials submitted it.
      project: where it ran.
      machine: the type of its workers' machines, '' if that is not known.
    """

    id: str
    link: str
    account: str = ""
    project: str = ""
    machine: str = ""


def line(text: str) -> str:
    """A message in one line: of a traceback the error, and where in Braid's own code it came up."""
    found = from_traceback(text)
    if found:
        return _cut(str(found.error))
    if _TRACEBACK not in text:
        return _cut(refusals.plain(text))
    frames = own_frames(text)
    return _cut(_raised(text)) + (f" ({frames[-1]})" if frames else "")


def is_summary(text: str) -> bool:
    """Whether a message merely says that the job has failed."""
    return refusals.plain(text).startswith(_SUMMARY)


def error_of(ended: JobState, messages: Sequence[Message], job: Job) -> BraidError:
    """What a job ended of that did not come through: a worker's own error, or what the service says.

    Its cause holds the messages as they came.
    """
    errors = [one.text for one in messages if one.importance == ERROR]
    if ended.state == "CANCELLED":
        return RemoteJobError(f"Job {job.id} was cancelled.", f"The same command runs the step anew. {job.link}")
    own = next((found for text in reversed(errors) if (found := from_traceback(text))), None)
    error = _of_worker(own) if own else _of_service(ended, errors, job)
    error.__cause__ = RemoteJobError("\n\n".join(errors), job.link)
    return error


def _of_worker(found: WorkerError) -> BraidError:
    if found.kept:
        found.error.add_note(found.kept)
    return found.error


def _of_service(ended: JobState, errors: Sequence[str], job: Job) -> RemoteJobError:
    whole = "\n".join(errors)
    refused = next(
        (found for text in errors if (found := refusals.of(text, job.account, job.project, job.machine))), None
    )
    if refused:
        return RemoteJobError(f"Job {job.id} failed. {refused.told}", f"{refused.hint}\n{job.link}")
    told = [text for text in dict.fromkeys(map(line, errors)) if not is_summary(text)]
    words = " ".join(told[-_TOLD:] or [line(text) for text in errors[-1:]])
    more = "The service gives no reason." if not whole else words
    return RemoteJobError(f"Job {job.id} ended as {ended.state.lower()}: {more}", f"The workers' logs: {job.link}")


def _raised(text: str) -> str:
    """The last line of a traceback that says what was raised."""
    lines = [one for one in text.splitlines() if one.strip() and not one.startswith((" ", "\t", "[while running"))]
    return lines[-1] if lines else text


def _cut(text: str) -> str:
    one = printable(" ".join(text.split()))
    return one if len(one) <= _LONGEST else f"{one[: _LONGEST - 3]}..."
