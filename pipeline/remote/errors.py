"""Errors of remote jobs."""

from pipeline.errors import RunError


class NotReachableError(RunError):
    """The service does not answer, or not to this account: nothing is known of the job, which may well go on."""


class JobNotFoundError(NotReachableError):
    """The service answers, and knows no such job."""


class RemoteJobError(RunError):
    """The service took no job, or the job has ended without its result."""
