import logging
import subprocess
import sys
import threading
import warnings

import pytest
from apache_beam.runners.worker import sdk_worker

from pipeline.cli import quiet


def test_silence_is_of_the_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["braid", "run"])
    before = (logging.root.manager.disable, list(warnings.filters))
    with quiet.silence():
        assert not logging.getLogger("tfx").isEnabledFor(logging.WARNING)
        warnings.warn("unheard", UserWarning, stacklevel=1)
        assert sys.argv == ["braid"]
    assert (logging.root.manager.disable, list(warnings.filters)) == before
    assert sys.argv == ["braid", "run"]
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


@pytest.mark.parametrize(("thread", "heard"), [("read_grpc_client_inputs", 0), ("work of ours", 1)])
def test_only_the_readers_of_beam_fail_in_silence(monkeypatch: pytest.MonkeyPatch, thread: str, heard: int) -> None:
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    with quiet.worker_tracebacks_held():
        sdk_worker.print("a traceback")
        failing = threading.Thread(target=lambda: 1 // 0, name=thread)
        failing.start()
        failing.join()
    assert len(failures) == heard
    assert threading.excepthook == failures.append
    assert "print" not in vars(sdk_worker)


def test_stock_components_are_left_out_of_the_launchers_import_and_can_be_had_later() -> None:
    program = (
        "import sys\n"
        "from pipeline.cli import quiet\n"
        "with quiet.silence(), quiet.native_logs(), quiet.without_stock_components():\n"
        "    import pipeline.runner\n"
        "assert 'tfx.components' not in sys.modules\n"
        "import tfx.dsl.components.base.base_component\n"
        "from tfx.components import StatisticsGen\n"
        "print(StatisticsGen.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "StatisticsGen", done.stderr
