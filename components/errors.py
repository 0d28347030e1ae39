"""Errors of the steps."""

from beam_jobs.errors import BraidError


class StepError(BraidError):
    """A step cannot do its work with what it was given."""
