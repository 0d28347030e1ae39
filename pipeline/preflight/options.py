"""Whether the options of the jobs are complete, known to Beam, and valid by Beam's own rules."""

import argparse
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.errors import listed, nearest
from pipeline.preflight import machine_types
from pipeline.preflight.finding import Finding
from pipeline.targets import dataflow_options
from pipeline.targets.target import Dataflow, Portable

REQUIRED = ("project", "region", "bucket")
_KEYS = {
    "temp_location": "bucket",
    "staging_location": "bucket",
    "Project ID": "project",
    "project": "project",
    "region": "region",
    "dataflow endpoint": "endpoint",
    "GCS": "bucket",
    "num_workers": "workers",
    "image": "image",
}
_BUCKET = re.compile(r"^[a-z0-9][-_a-z0-9.]{1,220}[a-z0-9]$")
_OFFLINE = "--dry_run=True"
"""Keeps Beam's validator from looking at the bucket, which has a check of its own."""
_SUBNETWORK = re.compile(r"(^|/)regions/(?P<region>[^/]+)/subnetworks/[^/]+$")


def check(service: Dataflow, steps: Iterable[str] | None) -> Iterator[Finding]:
    """What is missing, unknown or wrong.

    Args:
      service: the target.
      steps: the names of the pipeline's steps with a Beam job; None where they are not known.
    """
    missing = [key for key in REQUIRED if not getattr(service, key)]
    for key in missing:
        yield Finding(key, f"The target needs '{key}', and it is not set.", f"Give it: --set {key}=...")
    yield from _unknown("options", service.options)
    for step, keys in service.steps.items():
        if steps is not None and step not in (every := list(steps)):
            told = f"The target has keys for '{step}', which is no step with a Beam job.{nearest(step, every)}"
            yield Finding(f"steps.{step}", told, f"Steps with a Beam job: {listed(every, 30)}.")
        yield from _unknown(f"steps.{step}.options", keys.options)
    yield from _machines(service)
    yield from _network(service)
    bucket = service.bucket.removeprefix("gs://").partition("/")[0]
    if bucket and not _BUCKET.match(bucket):
        yield Finding(
            "bucket", f"'{bucket}' is no bucket's name.", "Lower case letters, digits, '-', '_' and '.' are allowed."
        )
    elif not missing:  # of a place that is none Beam's client would make a bucket of its own
        yield from _by_beam(service)


def check_given(service: Portable) -> Iterator[Finding]:
    """Options of the user's own that Beam does not have."""
    yield from _unknown("options", service.options)
    for step, own in service.steps.items():
        yield from _unknown(f"steps.{step}", own)


def known_options() -> frozenset[str]:
    """The names of all options that Beam has."""
    from apache_beam.options import pipeline_options

    found: set[str] = set()
    todo = [pipeline_options.PipelineOptions]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        # Of a test or a plugin elsewhere nothing is known of what it wants of the service.
        if kind.__module__.startswith("apache_beam.options."):
            parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
            kind._add_argparse_args(parser)
            found |= {name.removeprefix("--") for action in parser._actions for name in action.option_strings}
    return frozenset(found)


def _unknown(where: str, given: Mapping[str, Any]) -> Iterator[Finding]:
    if not given:
        return
    known = known_options()
    for name in given:
        if name not in known:
            close = ", ".join(difflib.get_close_matches(name, known, n=3)) or "see Beam's PipelineOptions"
            yield Finding(
                f"{where}.{name}", f"Beam has no option '{name}'.{nearest(name, known)}", f"The nearest: {close}."
            )


def _machines(service: Dataflow) -> Iterator[Finding]:
    named = {"worker_type": service.worker_type}
    named |= {f"steps.{step}.worker_type": service.of_step(step).worker_type for step in service.steps}
    for key, name in named.items():
        if machine_types.machine(name) is not None or (key != "worker_type" and name == service.worker_type):
            continue
        close = machine_types.alternatives(name)
        yield Finding(
            key,
            f"'{name}' is no machine type that {machine_types.FILE} knows.{close}",
            "If it is new, its memory and its cost cannot be checked here; add it to that file.",
            "warning",
        )


def _network(service: Dataflow) -> Iterator[Finding]:
    inside = _SUBNETWORK.search(service.subnetwork)
    if service.subnetwork and inside is None:
        yield Finding(
            "subnetwork", f"'{service.subnetwork}' is no subnetwork.", "Write it as regions/REGION/subnetworks/NAME."
        )
    elif inside and inside["region"] != service.region:
        yield Finding(
            "subnetwork",
            f"The subnetwork is in '{inside['region']}', and jobs run in '{service.region}'.",
            f"Name one of '{service.region}', or set the region.",
        )
    if not service.public_ips and not service.image:
        yield Finding(
            "public_ips",
            "Workers without addresses on the internet cannot fetch their packages, and there is no 'image' that holds them.",
            "Make an image with `braid deploy image`, and set `image`; or set `public_ips: true`.",
        )
    if service.service_account and "@" not in service.service_account:
        yield Finding("service_account", f"'{service.service_account}' is no account's e-mail address.")


def _by_beam(service: Dataflow) -> Iterator[Finding]:
    """What Beam's client would say as it submits."""
    common = dataflow_options.of(service)
    seen: set[str] = set()
    for step in ("", *service.steps):
        keys = service.of_step(step) if step else service
        for told in _told_by_beam([*common, *dataflow_options.of_workers(keys), _OFFLINE]):
            if told not in seen:
                seen.add(told)
                key = next((key for sign, key in _KEYS.items() if sign in told), "options")
                yield Finding(f"steps.{step}" if step else key, told.strip())


def _told_by_beam(arguments: Sequence[str]) -> list[str]:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    try:
        options = PipelineOptions(list(arguments))
        options.get_all_options(display_warnings=False)
    except (SystemExit, ValueError, argparse.ArgumentError) as error:
        return [f"Beam cannot read the options: {error}."]
    return [str(one) for one in PipelineOptionsValidator(options, DataflowRunner()).validate()]
