"""Ports that cannot be listened on."""

import socket

import pytest

from pipeline.debugging import debugger
from pipeline.errors import RunError


def test_a_port_in_use_is_refused_before_anything_waits() -> None:
    with socket.socket() as taken:
        taken.bind((debugger.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"Port {port} cannot be listened on: ") as refused:
            debugger.wait(port)
    assert "--listen 0" in refused.value.hint
