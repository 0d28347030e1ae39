"""Debuggers that a replay can wait for or stop in."""

import pdb
import socket
import sys

from pipeline.errors import RunError

HOST = "127.0.0.1"
"""Who attaches may run any code, so nobody else's machine may."""


def wait(port: int) -> None:
    """Waits until a debugger attaches to a port of this machine; 0 takes a free one.

    Raises:
      RunError: the port is in use, or debugpy is missing.
    """
    try:
        import debugpy
    except ModuleNotFoundError as error:
        raise RunError("The package 'debugpy' is not installed in this environment.", "pip install debugpy") from error
    _check_free(port)
    _, taken = debugpy.listen((HOST, port))
    print(f"Waiting for a debugger on {HOST}:{taken} ...", file=sys.stderr, flush=True)
    debugpy.wait_for_client()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RunError(
                f"Port {port} cannot be listened on: {error.strerror}.", "Name another: --listen 0 takes a free one."
            ) from error


def post_mortem(error: BaseException) -> None:
    """Stops in pdb where an error was raised."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    pdb.post_mortem(error.__traceback__)
