"""Errors of the steps."""

from beam_jobs.errors import BraidError


class StepError(BraidError):
    """A step cannot do its work with what it was given."""


class DivergedError(StepError):
    """A training came to what is no number: of one the user hears, a search goes on to other parameters."""
