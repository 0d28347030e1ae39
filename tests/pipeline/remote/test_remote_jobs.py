"""Questions about jobs: what is passing is waited out, what is refused is told."""

import subprocess
import sys

import pytest
import requests
from answers import ID, NAME, ScriptedJobs, at, counter, job, listed, message, metrics, news
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions

from pipeline.remote import calling
from pipeline.remote.errors import JobNotFoundError, NotReachableError
from pipeline.remote.job_metrics import Metrics
from pipeline.remote.jobs import Jobs, JobState, jobs_of

PASSING = [
    exceptions.TooManyRequests("Too many requests."),
    exceptions.InternalServerError("Internal error."),
    exceptions.ServiceUnavailable("The service is currently unavailable."),
    exceptions.GatewayTimeout("Deadline."),
    requests.exceptions.ConnectionError("cut"),
    requests.exceptions.ReadTimeout("no answer"),
    ConnectionResetError("reset"),
    auth_exceptions.TransportError("no token server"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_is_passing_is_waited_out(error: Exception) -> None:
    jobs = ScriptedJobs(get_job=[error, error, error, job()])
    assert jobs.state(ID) == JobState(ID, NAME, "RUNNING", at(0), at(0))
    assert jobs.times("get_job") == 4
    assert len(jobs.noted) == 3 and all("Dataflow does not answer" in one for one in jobs.noted)


def test_what_does_not_pass_is_given_up_in_the_end() -> None:
    jobs = ScriptedJobs(patience=0.05, get_job=exceptions.ServiceUnavailable("Gone."))
    with pytest.raises(NotReachableError, match="has not answered for 0 seconds") as told:
        jobs.state(ID)
    assert jobs.times("get_job") > 2 and "online" in told.value.hint


REFUSED = {
    "expired": (
        exceptions.Unauthorized("invalid"),
        "does not take these credentials",
        "gcloud auth application-default login",
    ),
    "revoked": (
        auth_exceptions.RefreshError("invalid_grant: Bad Request"),
        "does not take these credentials",
        "gcloud auth",
    ),
    # What gRPC makes of credentials that cannot be renewed looks like a service that is away.
    "by gRPC": (
        exceptions.ServiceUnavailable("Getting metadata from plugin failed with error: ('invalid_grant: Bad Request')"),
        "does not take these credentials",
        "gcloud auth",
    ),
    "forbidden": (
        exceptions.Forbidden("(0aab): Permission 'dataflow.jobs.get' denied on project: 'test'"),
        "somebody@test.iam.gserviceaccount.com may not look after job",
        "--member=serviceAccount:somebody@test.iam.gserviceaccount.com --role=roles/dataflow.viewer",
    ),
    "bad": (exceptions.BadRequest("No region 'mars'."), "No region 'mars'", "`region` of the target"),
}


@pytest.mark.parametrize(("error", "message", "hint"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told_at_once(error: Exception, message: str, hint: str) -> None:
    jobs = ScriptedJobs(get_job=error)
    with pytest.raises(NotReachableError) as told:
        jobs.state(ID)
    assert message in str(told.value) and hint in told.value.hint
    assert jobs.times("get_job") == 1


def test_a_job_may_not_be_known_at_once() -> None:
    jobs = ScriptedJobs(get_job=[exceptions.NotFound("no"), exceptions.NotFound("no"), job()])
    assert jobs.state(ID).state == "RUNNING"


def test_a_job_that_stays_unknown_is_told() -> None:
    jobs = ScriptedJobs(get_job=exceptions.NotFound("Information about job could not be found in our system."))
    with pytest.raises(JobNotFoundError, match="could not be found in our system"):
        jobs.state(ID)
    assert jobs.times("get_job") == calling.NOT_FOUND_PAUSES + 1


def test_a_job_is_found_by_its_name_in_any_state() -> None:
    jobs = ScriptedJobs(list_jobs=listed(job("FAILED"), job(name=f"{NAME}1", job_id="other")))
    found = jobs.find(NAME)
    assert found is not None and (found.id, found.state, found.has_ended) == (ID, "FAILED", True)
    assert jobs.asked == [
        ("list_jobs", {"project_id": "test", "location": "us-central1", "name": NAME, "filter": "ALL"})
    ]
    assert ScriptedJobs(list_jobs=listed()).find(NAME) is None


def test_of_several_jobs_of_a_name_the_one_that_runs_is_found() -> None:
    found = ScriptedJobs(list_jobs=listed(job("DONE", job_id="9"), job(job_id="1"), job("DONE", job_id="8"))).find(NAME)
    assert found is not None and found.id == "1"


def test_a_list_without_its_region_is_no_proof_that_there_is_no_job() -> None:
    jobs = ScriptedJobs(list_jobs=[listed(failed=["us-central1"]), listed(job())])
    assert jobs.find(NAME) is not None and jobs.times("list_jobs") == 2


def test_messages_are_asked_for_from_a_time_on() -> None:
    jobs = ScriptedJobs(list_job_messages=news(message("Too bad.", "WARNING", 3, "7")))
    (only,) = jobs.messages(ID, at(2))
    assert (only.id, only.time, only.importance, only.text) == ("7", at(3), "WARNING", "Too bad.")
    assert jobs.asked[0][1]["start_time"] == at(2)


def test_metrics_are_those_of_work_that_is_done() -> None:
    used = {
        "TotalVcpuTime": 7_200,
        "TotalMemoryUsage": 3_600 * 1_024,
        "TotalPdUsage": 3_600,
        "TotalSsdUsage": 1_800,
        "TotalShuffleDataProcessed": 0.5,
        "BillableShuffleDataProcessed": 0.25,
    }
    jobs = ScriptedJobs(
        get_job_metrics=metrics(
            counter("read", 10, step="s1"),
            counter("read", 99, step="s1", tentative="true"),
            counter("read", 5, step="s2"),
            counter("read", 1, "planes"),
            counter("seconds_MEAN", 3),
            {"name": {"origin": "dataflow/v1b3", "name": "ElementCount", "context": {"step": "s1"}}, "scalar": 4},
            {"name": {"origin": "user", "name": "sizes", "context": {}}, "distribution": {"count": 1}},
            *({"name": {"origin": "dataflow/v1b3", "name": name}, "scalar": value} for name, value in used.items()),
        )
    )
    found = jobs.metrics(ID)
    assert found == Metrics({"departures.read": 15, "planes.read": 1}, 7_200, 3_600, 5_400, 0.5, 0.25)
    assert found.total("read") == 16
    assert found.facts == {
        "vcpu_hours": 2,
        "memory_gb_hours": 1,
        "disk_gb_hours": 1.5,
        "bytes_processed": 500_000_000,
        "bytes_billed": 250_000_000,
    }
    assert Metrics().facts == {}


def test_cancelling_waits_until_the_workers_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.remote.jobs._CANCEL_PAUSE", 0.001)
    jobs = ScriptedJobs(update_job=job("CANCELLING"), get_job=[job("CANCELLING"), job("CANCELLED")])
    assert jobs.cancel_and_wait(ID).state == "CANCELLED"
    assert jobs.asked[0][1]["job"].requested_state.name == "JOB_STATE_CANCELLED"


def test_a_job_that_has_ended_is_not_cancelled() -> None:
    jobs = ScriptedJobs(update_job=exceptions.BadRequest("Job has already ended."), get_job=job("DONE"))
    assert jobs.cancel(ID).state == "DONE"


def test_who_may_not_cancel_is_told_so() -> None:
    refused = exceptions.Forbidden("Permission 'dataflow.jobs.cancel' denied on project: 'test'")
    with pytest.raises(NotReachableError, match="may not cancel job") as told:
        ScriptedJobs(update_job=refused, get_job=job()).cancel(ID)
    assert "roles/dataflow.developer" in told.value.hint


def test_jobs_are_where_the_options_of_a_pipeline_say() -> None:
    there = Jobs("p", "europe-west1", "http://localhost:1", "a@p.iam.gserviceaccount.com")
    again = jobs_of(there.options)
    assert (again.project, again.region, again.endpoint) == ("p", "europe-west1", "http://localhost:1")
    assert again.account == "a@p.iam.gserviceaccount.com"
    assert jobs_of(Jobs("p", "europe-west1").options).endpoint == ""
    assert there.link("7") == "https://console.cloud.google.com/dataflow/jobs/europe-west1/7?project=p"


def test_the_command_line_can_name_jobs_without_loading_beam() -> None:
    code = (
        "import sys; import pipeline.remote.jobs, pipeline.remote.journal, pipeline.remote.leaving; "
        "print([m for m in ('apache_beam', 'tfx', 'google.cloud.dataflow', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
