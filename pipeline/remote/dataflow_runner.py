"""Beam's Dataflow runner, made to find a job again that an earlier process has submitted: never a second one."""

from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, TestOptions, WorkerOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.dataflow import dataflow_runner

from beam_jobs import progress
from pipeline.remote import waiting
from pipeline.remote.jobs import Jobs, JobState, jobs_of
from pipeline.remote.journal import Journal, current
from pipeline.remote.waiting import RemoteResult, left_if_unreachable


class DataflowRunner(dataflow_runner.DataflowRunner):  # Beam goes by the class's name
    """Named in a pipeline's options as `--runner=pipeline.remote.dataflow_runner.DataflowRunner`."""

    def run_pipeline(self, pipeline: Pipeline, options: Any, pipeline_proto: Any = None) -> RemoteResult:
        """Submits the pipeline's job, or takes up the one that the journal knows of; does not wait for it.

        Raises:
          RemoteJobError: the service takes no such job.
          LeftRunning: it does not answer, and there may be a job.
        """
        journal = current()
        jobs = jobs_of(options, waiting.PATIENCE_SECONDS, progress.note)
        with left_if_unreachable(journal):
            found = self._left_before(journal, jobs)
            if found is None:
                if journal is not None:
                    options.view_as(GoogleCloudOptions).job_name = journal.job_name
                    journal.submitting()
                found = self._submitted(pipeline, options, pipeline_proto, jobs)
        if journal is not None and journal.job_id != found.id:
            journal.submitted(found.id, jobs.link(found.id))
        return RemoteResult(jobs, found, journal, options.view_as(WorkerOptions).machine_type or "")

    def _left_before(self, journal: Journal | None, jobs: Jobs) -> JobState | None:
        if journal is None or not journal.again:
            return None
        return jobs.state(journal.job_id) if journal.job_id else jobs.find(journal.job_name)

    def _submitted(self, pipeline: Pipeline, options: Any, pipeline_proto: Any, jobs: Jobs) -> JobState:
        """Lets Beam translate the pipeline, and submits it."""
        from pipeline.remote.submission import submit

        # A dry run of Beam's ends before its client is made, which would submit in haste.
        trial = options.view_as(TestOptions)
        before, trial.dry_run = trial.dry_run, True
        try:
            job = super().run_pipeline(pipeline, options, pipeline_proto).job
        finally:
            trial.dry_run = before
        return submit(job, jobs)
