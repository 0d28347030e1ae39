"""`braid lineage`: the group of questions about the past."""

import click

from pipeline.cli.lazy import LazyGroup

QUESTIONS = {
    "up": "Everything that made an artifact, back to the source files.",
    "down": "Everything made from an artifact, down to models and predictions.",
    "file": "The runs, models and predictions that a source file went into.",
    "columns": "The source columns and expressions behind a model's features.",
    "uses": "The models that use a source column.",
    "rows": "Follow rows of a source table into models, by a condition.",
    "diff": "What changed between two runs, cause before effect.",
    "why": "Why a step ran again, or came from the cache.",
    "verify": "Recompute digests: what is missing, changed or orphaned.",
    "waste": "Time and bytes spent on what never served.",
    "gc": "Remove what nothing needs any more; a dry run unless told.",
    "pin": "Keep a run from being removed.",
}


@click.group("lineage", cls=LazyGroup, package="pipeline.cli.questions", table=QUESTIONS)
def command() -> None:
    """Questions about the past: what made a model, what a file went into, what changed between two runs."""
