"""Whether the sources of a pipeline are where workers can read them."""

from collections.abc import Iterator

from beam_jobs import sources, storage
from beam_jobs.errors import BraidError
from pipeline import run_facts
from pipeline.planning import Plan
from pipeline.preflight.bucket_access import Place
from pipeline.preflight.finding import Finding
from pipeline.targets.target import Dataflow


def places(plan: Plan) -> Iterator[Place]:
    """Every source that lies in a bucket, with its key."""
    for name, source in plan.sources.items():
        if storage.is_remote(source.config.path):
            yield Place(_key(plan, name), source.config.path)


def check(plan: Plan, service: Dataflow) -> Iterator[Finding]:
    """Sources that workers cannot reach, and files that cannot be opened."""
    for name, source in plan.sources.items():
        written = run_facts.without_credentials(plan.loaded.config.sources[name].path)
        if not storage.is_remote(source.config.path):
            yield _local(plan, name, written, service)
            continue
        try:
            files = sources.find_files(source.config).files
            for file in dict.fromkeys((files[0], files[-1])):
                with storage.open_input(file.path) as stream:
                    stream.read(1)
        except (OSError, BraidError) as error:
            told = getattr(error, "strerror", None) or error
            yield Finding(
                _key(plan, name),
                f"Source '{name}', '{written}', cannot be read: {told}.",
                "See that it is there, and who may read it.",
            )


def _local(plan: Plan, name: str, written: str, service: Dataflow) -> Finding:
    target = f"{service.place}/sources/" if service.bucket else "gs://BUCKET/sources/"
    path = plan.sources[name].config.path
    what = "is a file of a package here" if written.startswith(storage.PACKAGE_SCHEME) else "is on this machine"
    file = path.rstrip("/").rpartition("/")[2]
    return Finding(
        _key(plan, name),
        f"Source '{name}', '{written}', {what}: workers cannot read it.",
        f"Copy it to the bucket: gcloud storage cp --recursive {path} {target}; then --set sources.{name}.path={target}{file}",
    )


def _key(plan: Plan, name: str) -> str:
    return f"{plan.loaded.settings.origin(('sources', name, 'path'))}: sources.{name}.path"
