"""A debugger's front end as a script: a client of the Debug Adapter Protocol, as VS Code's is."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Message = dict[str, Any]
PATIENCE = 120.0  # seconds; a loaded machine imports TFX slowly
_WAITING = re.compile(r"Waiting for a debugger on 127\.0\.0\.1:(\d+)")


class Client:
    """One connection to a debug adapter."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._stream = self._socket.makefile("rb")
        self._sent = 0
        self._heard: list[Message] = []

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, command: str, **arguments: Any) -> int:
        """Sends a request; returns its number."""
        self._sent += 1
        message = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._sent

    def answer(self, number: int) -> Message:
        """The body of the response to a request.

        Raises:
          RuntimeError: it was refused.
        """
        found = self._await(lambda m: m["type"] == "response" and m["request_seq"] == number)
        if not found["success"]:
            raise RuntimeError(f"{found['command']}: {found.get('message')}")
        return found.get("body") or {}

    def ask(self, command: str, **arguments: Any) -> Message:
        return self.answer(self.send(command, **arguments))

    def event(self, name: str) -> Message:
        """The body of the next event of that name."""
        return self._await(lambda m: m["type"] == "event" and m["event"] == name).get("body") or {}

    def attach(self, breakpoints: dict[str, list[int]]) -> None:
        """Attaches with breakpoints in lines of files, and lets the program go on."""
        self.ask("initialize", clientID="test", adapterID="debugpy", linesStartAt1=True, pathFormat="path")
        attached = self.send("attach", justMyCode=False, subProcess=False)
        self.event("initialized")
        for path, lines in breakpoints.items():
            set_ = self.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": line} for line in lines])
            assert all(one["verified"] for one in set_["breakpoints"]), set_
        self.ask("configurationDone")
        self.answer(attached)

    def stopped(self) -> tuple[int, list[Message]]:
        """Waits for the program to stop; the thread, and its stack, innermost first."""
        thread = self.event("stopped")["threadId"]
        assert thread in [one["id"] for one in self.ask("threads")["threads"]]
        return thread, self.ask("stackTrace", threadId=thread, startFrame=0, levels=30)["stackFrames"]

    def locals(self, frame: Message) -> dict[str, Message]:
        """The local variables of a frame, by name."""
        [scope] = [one for one in self.ask("scopes", frameId=frame["id"])["scopes"] if one["name"] == "Locals"]
        found = self.ask("variables", variablesReference=scope["variablesReference"])["variables"]
        return {one["name"]: one for one in found}

    def evaluate(self, frame: Message, expression: str) -> str:
        return str(self.ask("evaluate", expression=expression, frameId=frame["id"], context="repl")["result"])

    def _await(self, wanted: Any) -> Message:
        for at, message in enumerate(self._heard):
            if wanted(message):
                return self._heard.pop(at)
        while not wanted(message := self._read()):
            self._heard.append(message)
        return message

    def _read(self) -> Message:
        length = 0
        while (line := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        if not length:
            raise EOFError("The debug adapter has hung up.")
        found: Message = json.loads(self._stream.read(length))
        return found


class Debuggee:
    """A program that waits for a debugger. It prints into files: the adapter that it starts would hold pipes open."""

    def __init__(self, arguments: Sequence[str], folder: Path, printed: Path) -> None:
        self._out, self._err = printed / "out", printed / "err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=out, stderr=err)

    @property
    def err(self) -> str:
        """What it has printed as errors so far."""
        return self._err.read_text()

    def connect(self) -> Client:
        """Waits until it listens, and connects."""
        end = time.monotonic() + PATIENCE
        while not (found := _WAITING.search(self.err)):
            assert self.process.poll() is None, f"it has ended: {self.err}"
            assert time.monotonic() < end, f"it never listened: {self.err}"
            time.sleep(0.02)
        return Client(int(found.group(1)))

    def end(self) -> tuple[int, str]:
        """Waits for its end; the exit code, and what it printed."""
        return self.process.wait(PATIENCE), self._out.read_text()


@contextlib.contextmanager
def debuggee(arguments: Sequence[str], folder: Path) -> Iterator[Debuggee]:
    """Starts a Python program that is to wait for a debugger; it does not outlive the test."""
    with tempfile.TemporaryDirectory() as printed:
        started = Debuggee(arguments, folder, Path(printed))
        try:
            yield started
        finally:
            started.process.kill()
            started.process.wait()


def line_of(path: Path, text: str) -> int:
    """The number of the only line of a file that holds a text."""
    [found] = [number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line]
    return found
