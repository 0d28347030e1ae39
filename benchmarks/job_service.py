"""Beam's local job service as a program, its jobs on as many worker processes as they ask for with `direct_num_workers`.

`python benchmarks/job_service.py PORT_FILE STAGED_FOLDER`; Beam's own program runs every job on one worker. It needs
nothing but Beam, so that it also runs where Braid's own environment is not.
"""

import sys
import time
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner


class Job(local_job_service.BeamJob):  # type: ignore[misc]
    """A job on several workers."""

    def _invoke_runner(self) -> Any:
        self.set_state(beam_job_api_pb2.JobState.RUNNING)
        options = self.pipeline_options()
        runner = fn_runner.FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = int(options.view_as(DirectOptions).direct_num_workers or 1)  # text, over the wire
        return runner.run_via_runner_api(self._pipeline_proto, options)


if __name__ == "__main__":
    service = local_job_service.LocalJobServicer(sys.argv[2], Job)
    told = Path(sys.argv[1])
    told.with_suffix(".tmp").write_text(str(service.start_grpc_server(0)))
    told.with_suffix(".tmp").rename(told)
    while True:
        time.sleep(60)
