"""A target as types: what may be written in `configs/targets/*.yaml`."""

from typing import Literal

from pydantic import Field

from pipeline.config import Section

Option = str | int | float | bool | None


class Target(Section):
    """What every target has."""

    root: str = Field(
        "", description="Where outputs go: a folder, or a bucket's as `gs://...`; the workspace unless given."
    )


class Local(Target):
    """This machine: Beam's in-process runner, a thread a core."""

    runner: Literal["local"]
    workers: int = Field(0, ge=0, description="Threads of the Beam jobs; 0 for one a core.")


class Portable(Target):
    """A runner behind Beam's job API: Beam's own job service, Flink's or Spark's.

    Workers need the files that steps read and write at the same paths, or in a bucket.
    """

    runner: Literal["portable"]
    endpoint: str = Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d+$", description="`host:port` of the job service.")
    environment: Literal["loopback", "process", "external", "docker"] = Field(
        "loopback",
        description="Who runs the workers: `loopback` this process, `process` the service, as processes on its machine, `external` a pool of workers, `docker` the service, in containers.",
    )
    python: str = Field(
        "", description="For `process`: the Python of an environment for workers; Braid's own unless given."
    )
    pool: str = Field("", description="For `external`: `host:port` of the pool.")
    image: str = Field("", description="For `docker`: the image of the workers.")
    workers: int = Field(2, ge=1, description="Workers of a job, where the service lets the job say so.")
    options: dict[str, Option] = Field(
        {}, description="More of Beam's options, such as `{parallelism: 8}` for Flink; `true` sets a flag."
    )
    steps: dict[str, dict[str, Option]] = Field({}, description="More of Beam's options for one step, by its name.")


class WorkerKeys(Section):
    """What Dataflow's workers are like."""

    worker_type: str = Field("n2-standard-4", description="Machine type of a worker.")
    workers: int = Field(0, ge=0, description="Workers at the start; 0 lets the service decide.")
    max_workers: int = Field(20, ge=1, description="The service never takes more.")
    threads: int = Field(
        1, ge=1, description="Chunks that a process of a worker does at once; the service runs a process a vCPU."
    )
    disk_gb: int = Field(50, ge=30, description="Disk of a worker, in GB.")
    flexible_scheduling: bool = Field(
        False, description="FlexRS: cheaper, and begins within six hours rather than at once."
    )
    options: dict[str, Option] = Field({}, description="More of Beam's options; `true` sets a flag.")


class Dataflow(WorkerKeys, Target):
    """Google Cloud Dataflow, Runner v2.

    Outputs go to the bucket unless `root` says otherwise.
    """

    runner: Literal["dataflow"]
    project: str = Field("", description="The Google Cloud project that jobs run in and that pays.")
    region: str = Field("us-central1", description="Where workers run; best where the bucket is.")
    bucket: str = Field("", description="For outputs and staged files: `name`, or `gs://name/folder`.")
    prefix: str = Field("braid", pattern=r"^[^/].*[^/]$|^[^/]$", description="The bucket's folder for all of it.")
    service_account: str = Field(
        "", description="E-mail of the account that workers act as; the project's default unless given."
    )
    shuffle_service: bool = Field(True, description="Shuffle outside of workers, which then need little disk.")
    network: str = Field("", description="The workers' network; the project's default unless given.")
    subnetwork: str = Field("", description="`regions/REGION/subnetworks/NAME`.")
    public_ips: bool = Field(
        True,
        description="Whether workers get addresses on the internet; pins come from there unless there is an `image`.",
    )
    labels: dict[str, str] = Field({}, description="Labels of every job, beside `pipeline`, `run` and `step`.")
    image: str = Field(
        "", description="The workers' image, made by `braid deploy image`; else each worker installs the pins."
    )
    endpoint: str = Field("", description="Another address of the service's API.")
    steps: dict[str, WorkerKeys] = Field(
        {}, description="The worker keys (`worker_type` to `options`) for one step, by its name."
    )

    def of_step(self, step: str) -> WorkerKeys:
        """The worker keys of a step: its own laid over the target's."""
        keys = {name: getattr(self, name) for name in WorkerKeys.model_fields}
        own = self.steps.get(step, WorkerKeys())
        given = {name: getattr(own, name) for name in own.model_fields_set}
        return WorkerKeys(**{**keys, **given, "options": {**self.options, **own.options}})

    @property
    def place(self) -> str:
        """The folder of the bucket, as `gs://name/folder`."""
        return f"gs://{self.bucket.removeprefix('gs://').strip('/')}/{self.prefix}"


AnyTarget = Local | Portable | Dataflow
RUNNERS: dict[str, type[Local] | type[Portable] | type[Dataflow]] = {
    "local": Local,
    "portable": Portable,
    "dataflow": Dataflow,
}
