"""The programs in a capsule, as text: short enough to be read before they are run."""

from collections.abc import Sequence

from pipeline.debugging.capsule import Capsule
from pipeline.errors import RunError

_START = """
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = {code!r}  # the project; name another checkout to replay with that
PYTHON = {python!r}

if not Path(CODE).is_dir():
    sys.exit(f"The project is not at {{CODE}} on this machine: set CODE in {{__file__}} to where it is.")
sys.path[:0] = {paths}
"""
_REPLAY = '''\
"""Replays step {step} of run {run}, with the inputs it had.

Set a breakpoint here or in the step's code, and run this file. It writes into replays/, and nowhere else.
Options: --set PARAMETER=VALUE, --sql FILE, --pdb, --listen PORT; see --help.
"""
{start}
try:
    from pipeline.cli import quiet

    with quiet.silence(), quiet.native_logs():  # TensorFlow talks as it loads
        from {module} import {name}

        from pipeline.debugging.replaying import Replay, reporting
except ModuleNotFoundError as missing:
    sys.exit(f"{{missing}}. Run this with a Python that has it, such as {{PYTHON}}.")


def main() -> int:
    with reporting():
        replay = Replay(str(HERE), sys.argv[1:])
        with replay:
            {name}(replay.context()).Do(replay.inputs, replay.outputs, replay.parameters)
        return replay.verdict()


if __name__ == "__main__":
    sys.exit(main())
'''
_REPLAY_FAILURE = '''\
"""Runs step {step} of run {run} on the rows that failed, and on nothing else.

Set a breakpoint in `run_query` of `beam_jobs/kernel.py`, and run this file.
Options: --sql FILE, --pdb, --listen PORT; see --help.
"""
{start}
try:
    from pipeline.debugging import failing
except ModuleNotFoundError as missing:
    sys.exit(f"{{missing}}. Run this with a Python that has it, such as {{PYTHON}}.")

if __name__ == "__main__":
    sys.exit(failing.main(str(HERE), sys.argv[1:]))
'''


def replay(capsule: Capsule, python: str) -> str:
    """`replay.py`: the executor, called with what it had.

    Args:
      capsule: where it goes.
      python: an interpreter that has the packages.

    Raises:
      RunError: the executor's name is none.
    """
    module, _, name = capsule.executor.rpartition(".")
    if not all(word.isidentifier() for word in capsule.executor.split(".")) or not module:
        raise RunError(
            f"The executor of {capsule.name} is recorded as '{capsule.executor}', which names no class of a module.",
            "Only steps whose executor can be imported are replayed.",
        )
    told = _told(capsule)
    return _REPLAY.format(**told, start=_start(capsule, python), module=module, name=name)


def replay_failure(capsule: Capsule, python: str) -> str:
    """`replay_failure.py`: the step's batch function, called with the rows that failed."""
    return _REPLAY_FAILURE.format(**_told(capsule), start=_start(capsule, python))


def _start(capsule: Capsule, python: str) -> str:
    paths = ", ".join(["CODE", *map(repr, capsule.paths)])
    return _START.format(code=capsule.project, python=python, paths=f"[{paths}]")


def _told(capsule: Capsule) -> dict[str, str]:
    """Run and step as they can stand in a docstring, whatever they are called."""
    return {
        name: getattr(capsule, name).encode("unicode_escape").decode().replace('"', "'") for name in ("run", "step")
    }


def readme(capsule: Capsule, notes: Sequence[str], scripts: Sequence[str]) -> str:
    """What lies in the capsule, and what to know before trusting a replay."""
    lines = [f"Step {capsule.step} of run {capsule.run}: {capsule.state.lower()}."]
    lines += [f"It failed: {capsule.error}"] if capsule.error else []
    lines += [
        "",
        f"Run {' or '.join(scripts)}, or open this folder in VS Code or PyCharm, where run configurations are ready.",
        "capsule.json holds what was recorded; inputs/ what the step read; replays/ what each replay wrote.",
        "",
    ]
    return "\n".join([*lines, *(f"- {note}" for note in notes), ""])
