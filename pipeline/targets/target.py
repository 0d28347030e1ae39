"""A target as types: what may be written in `configs/targets/*.yaml`."""

from typing import Literal

from pydantic import Field

from pipeline.config import Section

Option = str | int | float | bool | None


class Local(Section):
    """This machine: Beam's in-process runner, a thread a core."""

    runner: Literal["local"]
    workers: int = Field(0, ge=0, description="Threads of the Beam jobs; 0 for one a core.")


class Portable(Section):
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


RUNNERS: dict[str, type[Local] | type[Portable]] = {"local": Local, "portable": Portable}
