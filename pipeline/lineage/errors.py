"""Errors of lineage."""

from beam_jobs.errors import BraidError


class LineageError(BraidError):
    """A question cannot be answered: its subject is unknown or ambiguous, or what would answer it is gone."""
