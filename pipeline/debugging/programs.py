"""The programs in a capsule, as text: short enough to be read before they are run."""

from collections.abc import Sequence

from pipeline.debugging.capsule import Capsule

_REPLAY = '''\
"""Replays step {step} of run {run}, with the inputs it had.

Set a breakpoint here or in the step's code, and run this file. It writes into replays/, and nowhere else.
Options: --set PARAMETER=VALUE, --sql FILE, --pdb, --listen PORT; see --help.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = {code!r}  # the project; name another checkout to replay with that

if not Path(CODE).is_dir():
    sys.exit(f"The project is not at {{CODE}} on this machine: set CODE in {{__file__}} to where it is.")
sys.path.insert(0, CODE)

from pipeline.cli import quiet  # noqa: E402

with quiet.silence(), quiet.native_logs():  # TensorFlow talks as it loads
    from {module} import {name}

    from pipeline.debugging.replaying import Replay, reporting


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

Set a breakpoint in `beam_jobs/kernel.py`, and run this file.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = {code!r}  # the project; name another checkout to replay with that

if not Path(CODE).is_dir():
    sys.exit(f"The project is not at {{CODE}} on this machine: set CODE in {{__file__}} to where it is.")
sys.path.insert(0, CODE)

from pipeline.debugging import failing  # noqa: E402

if __name__ == "__main__":
    sys.exit(failing.main(str(HERE), sys.argv[1:]))
'''


def replay(capsule: Capsule) -> str:
    """`replay.py`: the executor, called with what it had."""
    module, _, name = capsule.executor.rpartition(".")
    return _REPLAY.format(step=capsule.step, run=capsule.run, code=capsule.project, module=module, name=name)


def replay_failure(capsule: Capsule) -> str:
    """`replay_failure.py`: the step's batch function, called with the rows that failed."""
    return _REPLAY_FAILURE.format(step=capsule.step, run=capsule.run, code=capsule.project)


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
