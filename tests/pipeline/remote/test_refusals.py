"""What a service refuses, and the key or the role that helps."""

import pytest

from pipeline.remote import refusals

START = "Startup of the worker pool in zone us-central1-a failed to bring up any of the desired 2 workers. "

QUOTAS = {
    "processors": (
        START
        + "QUOTA_EXCEEDED: Instance 'x-harness-1' creation failed: Quota 'CPUS' exceeded. Limit: 24.0 in region us-central1.",
        ["quota CPUS of 24 in region us-central1"],
        ["max_workers=6 (so many n2-standard-4 fit", "worker_type=", "region="],
    ),
    "processors of a kind": (
        START + "QUOTA_EXCEEDED: Quota 'N2_CPUS' exceeded. Limit: 8.0 in region europe-west4.",
        ["quota N2_CPUS of 8 in region europe-west4"],
        ["max_workers=2", "worker_type="],
    ),
    "addresses": (
        START + "QUOTA_EXCEEDED: Quota 'IN_USE_ADDRESSES' exceeded. Limit: 4.0 in region us-central1.",
        ["IN_USE_ADDRESSES"],
        ["public_ips=false", "max_workers="],
    ),
    "disks": (
        START + "QUOTA_EXCEEDED: Quota 'DISKS_TOTAL_GB' exceeded. Limit: 500.0 in region us-central1.",
        ["DISKS_TOTAL_GB of 500"],
        ["disk_gb=", "max_workers="],
    ),
    "instances": (
        "Workflow failed. Causes: Error: Message: Exceeded limit 'QUOTA_FOR_INSTANCES' on resource 'x-harness'. Limit: 8.0",
        ["QUOTA_FOR_INSTANCES of 8"],
        ["max_workers="],
    ),
    "jobs": (
        "(b2a5e5f1c7d9a001): The workflow could not be created. Causes: (b2a5e5f1c7d9a0f4): Quota exceeded for quota metric "
        "'Concurrent Dataflow jobs' of project test: 25 of 25 are running.",
        ["quota of concurrent Dataflow jobs"],
        ["Nothing was submitted", "project="],
    ),
    "no machines": (
        START
        + "ZONE_RESOURCE_POOL_EXHAUSTED: Instance creation failed: The zone does not have enough resources available.",
        ["no machines of type n2-standard-4 left"],
        ["worker_type=", "region="],
    ),
    "subnetwork": (
        START + "IP_SPACE_EXHAUSTED: IP space of 'projects/p/regions/r/subnetworks/s' is exhausted.",
        ["no addresses left"],
        ["subnetwork=", "max_workers="],
    ),
}


@pytest.mark.parametrize(("text", "told", "hints"), QUOTAS.values(), ids=QUOTAS)
def test_a_quota_is_named_and_the_keys_that_help(text: str, told: list[str], hints: list[str]) -> None:
    found = refusals.of(text, machine="n2-standard-4")
    assert found is not None
    assert [part for part in told if part not in found.told] == []
    assert [part for part in hints if part not in found.hint] == []


@pytest.mark.parametrize("machine", ["", "custom", "n2-standard-32"])
def test_how_many_machines_fit_is_told_only_where_it_is_known(machine: str) -> None:
    found = refusals.of(QUOTAS["processors"][0], machine=machine)
    assert found is not None and "max_workers=..." in found.hint


ROBOT = "braid@test.iam.gserviceaccount.com"
WORKER = "123-compute@developer.gserviceaccount.com"
PERMISSIONS = {
    "submit": (
        "Could not create workflow; user does not have write access to project: test Causes: (c5b1): Permission "
        "'dataflow.jobs.create' denied on project: 'test'",
        f"`gcloud projects add-iam-policy-binding test --member=serviceAccount:{ROBOT} --role=roles/dataflow.developer`",
    ),
    "watch": (
        "Permission 'dataflow.metrics.get' denied on project: 'test'",
        f"`gcloud projects add-iam-policy-binding test --member=serviceAccount:{ROBOT} --role=roles/dataflow.viewer`",
    ),
    "act as": (
        f"Current user cannot act as service account {WORKER}. Causes: Current user cannot act as service account {WORKER}.",
        f"`gcloud iam service-accounts add-iam-policy-binding {WORKER} --member=serviceAccount:{ROBOT} "
        "--role=roles/iam.serviceAccountUser`",
    ),
    "a worker's bucket": (
        f"Workflow failed. Causes: {WORKER} does not have storage.objects.get access to the Google Cloud Storage object "
        "gs://flights/2013.parquet.",
        f"`gcloud storage buckets add-iam-policy-binding gs://flights --member=serviceAccount:{WORKER} "
        "--role=roles/storage.objectUser`",
    ),
    "one's own bucket": (
        "Could not upload to GCS path gs://flights/braid: 403 GET https://storage.googleapis.com/storage/v1/b/flights: "
        f"{ROBOT} does not have storage.buckets.get access to the Google Cloud Storage bucket.",
        f"`gcloud storage buckets add-iam-policy-binding gs://flights --member=serviceAccount:{ROBOT} "
        "--role=roles/storage.legacyBucketReader`",
    ),
    "to be a worker": (
        f"The service account {WORKER} lacks Permission 'dataflow.workItems.lease'.",
        f"`gcloud projects add-iam-policy-binding test --member=serviceAccount:{WORKER} --role=roles/dataflow.worker`",
    ),
    "image": (
        f"{WORKER}: Permission 'artifactregistry.repositories.downloadArtifacts' denied on resource",
        f"`gcloud projects add-iam-policy-binding test --member=serviceAccount:{WORKER} --role=roles/artifactregistry.reader`",
    ),
    "switched off": (
        "Dataflow API has not been used in project 123 before or it is disabled.",
        "`gcloud services enable dataflow.googleapis.com --project test`",
    ),
}


@pytest.mark.parametrize(("text", "hint"), PERMISSIONS.values(), ids=PERMISSIONS)
def test_a_missing_permission_is_told_with_the_role_and_for_whom(text: str, hint: str) -> None:
    found = refusals.of(text, ROBOT, "test")
    assert found is not None and found.hint == hint


def test_a_permission_of_no_known_role_is_told_still() -> None:
    found = refusals.of("Permission 'pubsub.topics.publish' denied", ROBOT)
    assert found is not None and "pubsub.topics.publish" in found.told and refusals.ROLES_PAGE in found.hint


def test_lost_workers_want_memory() -> None:
    found = refusals.of("Root cause: The worker lost contact with the service.")
    assert found is not None and "worker_type=n2-highmem-4" in found.hint and "threads=1" in found.hint


@pytest.mark.parametrize(
    "text", ["Workflow failed.", "beam_jobs.errors.DataError: The quota of 'a' is 'b'.", "Too many requests."]
)
def test_other_messages_refuse_nothing(text: str) -> None:
    assert refusals.of(text) is None


def test_codes_and_requests_are_left_out_of_messages() -> None:
    text = "POST http://localhost:1/v1b3/projects/test/jobs?a=b: (c5b1d7a2f0e94431): It failed. Causes: (c5b1d7a2f0e94a2e): No."
    assert refusals.plain(text) == "It failed. Causes: No."
    assert refusals.plain("2013-01-01: Flights") == "2013-01-01: Flights"
