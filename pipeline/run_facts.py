"""What a run records of itself beside what TFX does: code, lock, configuration, machine. Loads neither TFX nor Beam."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping

from beam_jobs import storage
from pipeline.loading import Loaded

Facts = Mapping[str, str | int | float]
"""Properties of an execution or a context by name."""

KEPT = "traceback"
"""The property of a failed execution, with the path of its traceback, that says that its outputs are kept."""

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_USER_INFO = re.compile(r"(?<=://)[^/?#\s'\"@]*@")


def of_environment(runner: str, target: str) -> dict[str, str | int]:
    """What one run's steps have in common: the code's version, Python's, the Beam runner and where steps run."""
    return {**of_code(), "python": platform.python_version(), "runner": runner, "target": target}


def of_code(project: str = PROJECT) -> dict[str, str | int]:
    """The git commit of the code, whether it was changed since, and the digest of the lock; '' where unknown."""
    lock = os.path.join(project, "lock", "requirements.txt")
    return {
        "code_commit": _git(project, "rev-parse", "HEAD"),
        "code_dirty": int(bool(_git(project, "status", "--porcelain"))),
        "lock_digest": storage.content_digest(lock) if storage.exists(lock) else "",
    }


def of_configuration(loaded: Loaded) -> dict[str, str]:
    """The whole configuration, defaults and all, as JSON, the file it came from, and Braid's version."""
    values = loaded.config.model_dump(mode="json", by_alias=True)
    return {
        "config": without_credentials(json.dumps(values, sort_keys=True)),
        "config_file": os.path.abspath(loaded.file),
        "overlays": json.dumps([os.path.abspath(path) for path in loaded.overlays]),
        "assignments": without_credentials(json.dumps(list(loaded.assignments))),
        "braid_version": importlib.metadata.version("braid"),
    }


def without_credentials(text: str) -> str:
    """The text, its URLs without `user:password@`."""
    return _USER_INFO.sub("", text)


def _git(project: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", project, *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
