"""`braid serve` as a process of its own on a free port, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sales_project import Project


@dataclass(frozen=True)
class Served:
    """A running server, and the project it serves a model of."""

    project: Project
    port: int
    process: "subprocess.Popen[str]"
    told: list[str]

    def ask(
        self, path: str, body: Any = None, method: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The code and the JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), path, sent, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(content) if is_json else content.decode()

    def predict(self, rows: Any, verb: str = "predict", **more: Any) -> Any:
        code, answer = self.ask(f"/v1/models/sales:{verb}", {"instances": rows, **more})
        assert code == 200, answer
        return answer

    def refused(self, body: Any, verb: str = "predict") -> str:
        code, answer = self.ask(f"/v1/models/sales:{verb}", body)
        assert code == 400
        assert list(answer) == ["error"]
        return str(answer["error"])


@contextmanager
def serving(project: Project, *arguments: str) -> Iterator[Served]:
    """The command with these arguments, until the block ends."""
    command = [sys.executable, "-m", "pipeline.cli.main", "serve", "--port", "0", "--workspace", "ws", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.getcwd() if not sys.path[0] else os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        told: list[str] = []
        for line in process.stdout:
            told.append(line)
            if "A page to try rows on" in line:
                break
        if not told:
            _, error = process.communicate()
            raise AssertionError(f"the server did not start: {error}")
        port = int(told[-1].rstrip("/\n").rpartition(":")[2])
        yield Served(project, port, process, told)
    finally:
        process.kill()
        process.communicate()
