"""The target `dataflow` becomes options of Beam's own parser; worker keys are a step's own where it has them."""

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, WorkerOptions

from pipeline.targets import dataflow_options, loading
from pipeline.targets.target import Dataflow


def target(*assignments: str) -> Dataflow:
    found = loading.load("dataflow", ["project=p", "bucket=b", *assignments])
    assert isinstance(found, Dataflow)
    return found


def parsed(*words: str) -> PipelineOptions:
    options = PipelineOptions(list(words))
    assert not options.get_all_options(retain_unknown_options=True).keys() - options.get_all_options().keys()
    return options


def test_the_options_are_ones_that_beam_knows() -> None:
    given = target(
        "service_account=w@p", "public_ips=false", "subnetwork=regions/r/subnetworks/s", "region=europe-west3"
    )
    options = parsed(*dataflow_options.of(given))
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert (cloud.project, cloud.region, cloud.service_account_email) == ("p", "europe-west3", "w@p")
    assert (cloud.temp_location, cloud.staging_location) == ("gs://b/braid/temp", "gs://b/braid/staging")
    assert (workers.use_public_ips, workers.subnetwork) == (False, "regions/r/subnetworks/s")
    assert options.get_all_options()["experiments"] == ["use_runner_v2", "shuffle_mode=service"]


def test_worker_keys_of_a_step_lie_over_the_targets() -> None:
    given = target("max_workers=7", "options.profile_cpu=true", "steps.flights.worker_type=e2-highmem-8")
    own = parsed(*dataflow_options.of_workers(given.of_step("flights"))).view_as(WorkerOptions)
    others = parsed(*dataflow_options.of_workers(given.of_step("weather"))).view_as(WorkerOptions)
    assert (own.machine_type, own.max_num_workers, own.num_workers) == ("e2-highmem-8", 7, None)
    assert (others.machine_type, others.max_num_workers) == ("n2-standard-4", 7)
    assert own.get_all_options()["profile_cpu"] is True


def test_an_image_takes_the_place_of_pins_and_flexible_scheduling_is_said() -> None:
    given = target("image=r/i:1", "flexible_scheduling=true")
    assert parsed(*dataflow_options.of(given)).view_as(WorkerOptions).sdk_container_image == "r/i:1"
    workers = parsed(*dataflow_options.of_workers(given.of_step("any")))
    assert workers.view_as(GoogleCloudOptions).flexrs_goal == "COST_OPTIMIZED"
    assert parsed(*dataflow_options.of_workers(given)).view_as(SetupOptions).requirements_file is None


@pytest.mark.parametrize(("bucket", "place"), [("b", "gs://b/braid"), ("gs://b/c/", "gs://b/c/braid")])
def test_a_bucket_is_named_alone_or_with_a_folder(bucket: str, place: str) -> None:
    assert target(f"bucket={bucket}").place == place
    assert loading.placement_of("dataflow", ["project=p", f"bucket={bucket}"]).root == place


def test_jobs_are_named_and_labelled_after_run_and_step() -> None:
    assert (
        dataflow_options.job_name("Flights-20261122-101112-131", "by_day", 17)
        == "flights-20261122-101112-131-by-day-17"
    )
    assert dataflow_options.job_name("1st-20261122-101112-131", "a", 1).startswith("b-1st-")
    words = dataflow_options.labels(target("labels.team=Data & ML"), "flights", "flights-1", "Prepare")
    cloud = parsed(*words).view_as(GoogleCloudOptions)
    assert cloud.labels == ["team=data---ml", "pipeline=flights", "run=flights-1", "step=prepare"]
