"""Errors of the pipeline layer."""

from beam_jobs.errors import BraidError


class ConfigError(BraidError):
    """A configuration file, an overlay or a `--set` is wrong."""


class RunError(BraidError):
    """A run cannot start, go on or be found."""
