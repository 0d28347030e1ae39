"""The main program of a Flex Template: builds the graph of one launch, which the service then runs.

It lies in the launcher's image beside `steps.json`, the pins and the wheel, and needs nothing of Braid but `beam_jobs`.
Options that are not its own are Beam's.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs import ingest, storage
from beam_jobs.errors import BraidError, DataError, listed, nearest
from beam_jobs.kernel import PrepareConfig
from beam_jobs.prepare import Prepare
from beam_jobs.sources import SourceConfig
from beam_jobs.table import MANIFEST, Table

HERE = os.path.dirname(os.path.abspath(__file__))
STRAND, PACKAGES = "steps.json", "requirements.txt"
SOURCE = "source_"
"""How the parameters begin that say where a source is."""
JOIN = "+"
"""Between steps that share a launch."""


@dataclass(frozen=True)
class Launch:
    """One start of the template.

    Attributes:
      strand: the content of `steps.json`.
      steps: what is asked for.
      root: the folder of this run's tables.
      paths: where sources are, if not where `strand` says.
    """

    strand: Mapping[str, Any]
    steps: tuple[str, ...]
    root: str
    paths: Mapping[str, str]

    def folder(self, step: str, what: str = "table") -> str:
        """Where a step's table goes, or its `rejects`."""
        return f"{self.root}/{step}/{what}"

    def source(self, name: str) -> SourceConfig:
        """A source as it is to be read.

        Raises:
          DataError: nothing says where it is.
        """
        config = SourceConfig(**self.strand["sources"][name])
        path = self.paths.get(name) or config.path
        if not path:
            raise DataError(f"Nothing says where source '{name}' is.", f"Give the parameter {SOURCE}{name}=gs://...")
        return dataclasses.replace(config, path=path)

    def is_there(self, step: str) -> bool:
        """Whether the step's table is published."""
        return storage.exists(f"{self.folder(step)}/{MANIFEST}")

    def table(self, name: str, reader: str) -> Table:
        """A table that the step `reader` reads; sources in Parquet are registered where they lie.

        Raises:
          DataError: no launch has written it yet.
        """
        if self.is_there(name):
            return Table.load(self.folder(name))
        if name in self.strand["sources"] and self.strand["sources"][name]["format"] == "parquet":
            return ingest.parquet_table(self.source(name), self.folder(name))
        raise DataError(
            f"Step '{reader}' reads '{name}', whose table is not there: '{self.folder(name)}'.",
            f"Launch steps={name} first, with the same root and run, and wait until its job is done.",
        )

    def unfinished(self) -> list[str]:
        """The steps without a table. A launch that is repeated goes on with them.

        Raises:
          DataError: there is none, so that nothing is left to do.
        """
        left = [step for step in self.steps if not self.is_there(step)]
        if not left:
            raise DataError(
                f"The tables of {listed(self.steps)} are there already: '{self.root}'.", "Give another `run`."
            )
        return left

    def add(self, pipeline: beam.Pipeline, step: str) -> None:
        """Adds the step's job to the graph.

        Raises:
          BraidError: the source or the tables are not what the job needs.
        """
        if step in self.strand["sources"]:
            config = self.source(step)
            plan = ingest.plan(config)
            ingest.ingest(pipeline, config, plan, self.folder(step), self.folder(step, "rejects"))
            return
        told = self.strand["prepare"][step]
        tables = {name: self.table(name, step) for name in told["reads"]}
        schemas = {name: table.schema for name, table in tables.items()}
        job = PrepareConfig.from_json(told, schemas, self.folder(step))
        _ = pipeline | Prepare(job, tables[told["stream"]], tables)


def parse(arguments: Sequence[str], strand: Mapping[str, Any]) -> tuple[Launch, list[str]]:
    """What is asked for, and Beam's own options.

    Raises:
      DataError: there is no such step.
    """
    # `--run` is the beginning of `--runner` as well.
    parser = argparse.ArgumentParser(allow_abbrev=False, prog="braid template")
    for name in ("steps", "root", "run"):
        parser.add_argument(f"--{name}", required=True)
    for name in strand["sources"]:
        parser.add_argument(f"--{SOURCE}{name}", default="")
    given, options = parser.parse_known_args(list(arguments))
    known = [step for stage in strand["stages"] for step in stage]
    steps = tuple(dict.fromkeys(given.steps.split(JOIN)))
    for step in steps:
        if step not in known:
            raise DataError(f"There is no step '{step}'.{nearest(step, known)}", f"Steps: {listed(known, 40)}.")
    root = f"{given.root.rstrip('/')}/{strand['pipeline']}/{given.run}"
    paths = {name: getattr(given, SOURCE + name) for name in strand["sources"]}
    return Launch(strand, steps, root, paths), options


def staged(options: Sequence[str], here: str = HERE) -> list[str]:
    """Beam's options by which workers get what this image holds; an image of their own has all but the code."""
    (wheel,) = (name for name in os.listdir(here) if name.endswith(".whl"))
    words = [f"--extra_package={os.path.join(here, wheel)}"]
    if not any(option.startswith("--sdk_container_image=") for option in options):
        words += [f"--requirements_file={os.path.join(here, PACKAGES)}", "--requirements_cache=skip"]
    return words


def main(arguments: Sequence[str]) -> int:
    """Writes the graph where `--template_location` says; 0, or 1 with a message on what is wrong."""
    strand = json.loads(storage.read_text(os.path.join(HERE, STRAND)))
    try:
        launch, options = parse(arguments, strand)
        pipeline = beam.Pipeline(options=PipelineOptions([*options, *staged(options)]))
        for step in launch.unfinished():
            launch.add(pipeline, step)
        pipeline.run()
    except BraidError as error:
        print(f"Error: {error}\n{error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
