"""Executes a staged pipeline as a service does: workers as processes of their own, lost bundles and failed ones again.

Runs in the workers' environment, with nothing of Braid but what was staged. Tells what happens as lines of JSON.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from apache_beam.metrics import monitoring_infos
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.portability.fn_api_runner.translations import only_element
from google.protobuf import text_format

ATTEMPTS = 4
"""How often Dataflow runs a bundle of a batch job before it gives the job up."""
FAULT, FAULT_FOLDER = "WORKER_FAULT", "WORKER_FAULT_FOLDER"
STOPPED, WOKEN = "stopped-", "woken-"
_SECONDS = 60


def tell(event: str, **what: Any) -> None:
    """One line for the service."""
    with _telling:
        print(json.dumps({"event": event, **what}), file=_out, flush=True)


_telling = threading.Lock()
_out = sys.stdout


class WorkerLostError(Exception):
    """The process is gone, or taken for gone."""


@worker_handlers.WorkerHandler.register_environment(
    common_urns.environments.DOCKER.urn, beam_runner_api_pb2.DockerPayload
)
class Machine(worker_handlers.GrpcWorkerHandler):  # type: ignore[misc]
    """A worker's process in place of a container; `options` and `folder` are set before the first one starts."""

    options: Mapping[str, Any] = {}
    folder = Path()

    def __init__(self, payload: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.image = payload.container_image
        self.lost = False

    def start_worker(self) -> None:
        endpoints = {
            "CONTROL_API_SERVICE_DESCRIPTOR": endpoints_pb2.ApiServiceDescriptor(url=self.control_address),
            "LOGGING_API_SERVICE_DESCRIPTOR": self.logging_api_service_descriptor(),
        }
        environment = {
            **os.environ,
            **{name: text_format.MessageToString(address) for name, address in endpoints.items()},
            "PIPELINE_OPTIONS": json.dumps({"options": self.options}),
            "WORKER_ID": self.worker_id,
        }
        harness = [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"]
        if os.environ.get(FAULT):
            harness = [sys.executable, str(Path(__file__).with_name("faulty_worker.py"))]
        self.log = self.folder / f"{self.worker_id}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(harness, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        tell("worker", state="started", pid=self.process.pid, image=self.image)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        stopped = self._stopped_file()
        while self.process.poll() is None and not stopped.exists():
            time.sleep(0.05)
        self.lost = True
        self.control_conn.abort(WorkerLostError(f"worker {self.worker_id} was lost"))

    def _stopped_file(self) -> Path:
        return Path(os.environ.get(FAULT_FOLDER, "/nonexistent"), f"{STOPPED}{self.process.pid}")

    @property
    def is_zombie(self) -> bool:
        """Whether it hangs, taken for gone."""
        return self._stopped_file().exists() and self.process.poll() is None

    def wake(self) -> None:
        """Lets a zombie go on until it has finished its bundle."""
        woken = self._stopped_file().with_name(f"{WOKEN}{self.process.pid}")
        self.process.send_signal(signal.SIGCONT)
        until = time.monotonic() + _SECONDS
        while not woken.exists() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        tell("zombie", pid=self.process.pid, finished=woken.exists())
        self.process.kill()

    def stop_worker(self) -> None:
        if self.lost:
            self.process.kill()
        self.process.wait(_SECONDS)


class Fleet(worker_handlers.WorkerHandlerManager):  # type: ignore[misc]
    """The workers; a lost one is replaced."""

    def get_worker_handlers(self, environment_id: Any, num_workers: int) -> list[Any]:
        """Live ones alone."""
        for environment, machines in self._cached_handlers.items():
            self.gone = [*getattr(self, "gone", []), *(machine for machine in machines if machine.lost)]
            self._cached_handlers[environment] = [machine for machine in machines if not machine.lost]
        return super().get_worker_handlers(environment_id, num_workers)  # type: ignore[no-any-return]

    def close_all(self) -> None:
        """Zombies finish first: what they still write comes after everything else."""
        gone = getattr(self, "gone", [])
        for machine in gone:
            if machine.is_zombie:
                machine.wake()
            with suppress(grpc.RpcError):  # its connections broke with it
                machine.close()
        super().close_all()


class Bundles(fn_runner.BundleManager):  # type: ignore[misc]
    """A stage's input in bundles over the workers; only the output of a bundle that succeeds counts."""

    _replacing = threading.Lock()

    def process_bundle(
        self, inputs: Any, expected_outputs: Any, timers: Any, timer_outputs: Any, dry: bool = False
    ) -> Any:
        assert not timer_outputs and not dry, "these jobs have no timers"
        manager = self.bundle_context_manager
        count = manager.num_workers
        parts: list[dict[str, Any]] = [{} for _ in range(count)]
        for name, data in inputs.items():
            for part, piece in zip(parts, data.partition(count), strict=True):
                part[name] = piece
        results: list[Any] = [None] * count
        threads = [
            threading.Thread(target=self._guarded, args=(results, place, parts[place], expected_outputs))
            for place in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        infos = monitoring_infos.consolidate(info for one in results for info in one.process_bundle.monitoring_infos)
        return beam_fn_api_pb2.InstructionResponse(
            process_bundle=beam_fn_api_pb2.ProcessBundleResponse(monitoring_infos=infos)
        ), []

    def _guarded(self, results: list[Any], place: int, part: Any, expected: Any) -> None:
        try:
            results[place] = self._until_it_succeeds(place, part, expected)
        except BaseException as error:  # told by the thread that waits
            results[place] = error

    def _until_it_succeeds(self, place: int, part: Any, expected: Any) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            machine = self._machine(place)
            try:
                result, received = self._once(machine, part, expected)
            except WorkerLostError:
                tell("worker", state="lost", pid=machine.process.pid, log=machine.log.read_text()[-4000:])
            except RuntimeError as error:
                tell("failure", text=str(error))
                if attempt == ATTEMPTS:
                    raise
            else:
                return self._committed(result, received, expected)
        raise WorkerLostError(
            f"Root cause: The worker lost contact with the service. A work item was attempted {ATTEMPTS} times without success."
        )

    def _machine(self, place: int) -> Machine:
        with self._replacing:
            manager = self.bundle_context_manager
            fleet = manager.execution_context.worker_handler_manager
            machines: list[Machine] = fleet.get_worker_handlers(manager.stage.environment, manager.num_workers)
            return machines[place]

    def _once(self, machine: Machine, part: Mapping[str, Any], expected: Mapping[str, Any]) -> Any:
        bundle = _next_bundle()
        for transform, elements in part.items():
            stream = machine.data_conn.output_stream(bundle, transform)
            for element in elements:
                stream.write(element)
            stream.close()
        request = beam_fn_api_pb2.ProcessBundleRequest(
            process_bundle_descriptor_id=self.bundle_context_manager.process_bundle_descriptor.id,
            cache_tokens=[next(self._cache_token_generator)],
        )
        future = machine.control_conn.push(
            beam_fn_api_pb2.InstructionRequest(instruction_id=bundle, process_bundle=request)
        )

        def given_up() -> bool:
            return machine.lost or (future.is_done() and bool(future.get().error))

        try:
            received = list(machine.data_conn.input_elements(bundle, list(expected), given_up))
        except grpc.RpcError as error:
            raise WorkerLostError from error
        while not future.is_done() and not machine.lost:
            time.sleep(0.01)
        if not future.is_done():
            raise WorkerLostError
        result = future.get()
        if result.error:
            raise RuntimeError(result.error)
        return result, received

    def _committed(self, result: Any, received: list[Any], expected: Mapping[str, Any]) -> Any:
        with self._replacing:
            for output in received:
                buffer = self.bundle_context_manager.get_buffer(expected[output.transform_id], output.transform_id)
                buffer.append(output.data)
        tell("counters", metrics=list(_metrics(result.process_bundle.monitoring_infos)))
        return result


_bundle_numbers = iter(range(1, sys.maxsize))


def _next_bundle() -> str:
    return f"bundle_{next(_bundle_numbers)}"


def _metrics(infos: Any) -> Iterator[dict[str, Any]]:
    """Counters and sets of names as plain values; the service adds up what bundles tell."""
    for info in infos:
        if not monitoring_infos.is_user_monitoring_info(info) or not monitoring_infos.is_counter(info):
            continue
        namespace, name = monitoring_infos.parse_namespace_and_name(info)
        value = monitoring_infos.extract_counter_value(info)
        yield {"namespace": namespace, "name": name, "step": info.labels.get("PTRANSFORM", ""), "value": int(value)}


class Service(fn_runner.FnApiRunner):  # type: ignore[misc]
    """Beam's own runner with the parts above in it."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._num_workers = workers

    def _get_bundle_manager(self, context: Any) -> Any:
        return Bundles(context, cache_token_generator=fn_runner.FnApiRunner.get_cache_token_generator(static=False))


def main() -> int:
    """Executes the graph; 0 if it came through."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--options", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    Machine.options, Machine.folder = json.loads(given.options.read_text()), given.folder
    fn_runner.WorkerHandlerManager = Fleet
    graph = beam_runner_api_pb2.Pipeline.FromString(given.pipeline.read_bytes())
    images = {one.payload for one in graph.components.environments.values()}
    assert only_element({one.urn for one in graph.components.environments.values()}) == (
        common_urns.environments.DOCKER.urn
    ), images
    try:
        Service(given.workers).run_via_runner_api(graph, PipelineOptions([]))
    except (RuntimeError, WorkerLostError) as error:
        tell("failed", text=str(error))
        return 1
    tell("done")
    return 0


if __name__ == "__main__":
    # What ends here ends at once: threads may still wait for workers that are lost.
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        code = 2
    sys.stderr.flush()
    os._exit(code)
