"""Beam's options as a target's file writes them."""

from collections.abc import Mapping

from pipeline.targets.target import Option


def given(options: Mapping[str, Option]) -> tuple[str, ...]:
    """The same as arguments: `true` is a flag, `false` and null leave the option out."""
    words = {name: f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()}
    return tuple(word for name, word in words.items() if options[name] is not None and options[name] is not False)
