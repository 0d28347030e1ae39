"""The tables that a model's rows are joined with, in memory: as training had them where their sources did not change."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from beam_jobs import broadcast, duck, ingest, sources, storage
from beam_jobs.errors import listed, nearest
from beam_jobs.ingest import IngestTarget
from beam_jobs.sources import SourceConfig
from beam_jobs.sql import CARRY, check_query
from beam_jobs.table import Table, read_table
from pipeline.errors import RunError
from pipeline.scoring.in_memory import run
from pipeline.scoring.recipe import Recipe, RecordedSource, RecordedStep


@dataclass
class SideTables:
    """Loads them.

    Attributes:
      places: other places of sources, by name.
      folder: an empty folder, for sources that have to be read anew.
      memo: a file that remembers digests of unchanged source files.
    """

    recipe: Recipe
    places: Mapping[str, str]
    folder: str
    memo: str | None = None

    def load(self) -> dict[str, pa.Table]:
        """Those that the chain joins, by name.

        Raises:
          BraidError: a source is gone or damaged, or `places` names what is no side table.
        """
        self._check_places()
        joined = {name for step in self.recipe.chain for name in step.reads if name != step.stream}
        self._loaded: dict[str, pa.Table] = {}
        self._fresh: dict[str, bool] = {}
        for name in sorted(joined):
            self._get(name)
        return {name: self._loaded[name] for name in sorted(joined)}

    def _check_places(self) -> None:
        known = [name for name in self.recipe.sources if name != self.recipe.streamed]
        for name in self.places:
            if name not in known:
                raise RunError(
                    f"The model's rows are not joined with a source '{name}'.{nearest(name, known)}",
                    f"Its side tables: {listed(known)}." if known else "It has no side tables.",
                )

    def _get(self, name: str) -> pa.Table:
        if name not in self._loaded:
            source, step = self.recipe.sources.get(name), self.recipe.steps.get(name)
            self._loaded[name] = self._source(source) if source else self._step(self.recipe.steps[name])
            assert source or step
        return self._loaded[name]

    def _source(self, source: RecordedSource) -> pa.Table:
        config = source.config
        place = self.places.get(config.name)
        if place is not None:
            config = dataclasses.replace(config, path=storage.resolve(place), format="")
        same = place is None and source.table.is_there
        same = same and sources.source_content(config, self.memo).fingerprint == source.fingerprint
        self._fresh[config.name] = not same
        return _whole(Table.load(source.table.uri) if same else self._read(config))

    def _read(self, config: SourceConfig) -> Table:
        """Reads a source as ingest does, in this process."""
        root = os.path.join(self.folder, config.name)
        if sources.find_files(config).format == "parquet":
            return ingest.parquet_table(config, root)
        plan = ingest.plan(config)
        target = IngestTarget(config, plan, root, f"{root}.rejects")
        ingest.publish_outcomes([ingest.ingest_chunk(chunk, target) for chunk in plan.chunks], target)
        return Table.load(root)

    def _step(self, step: RecordedStep) -> pa.Table:
        if not self._is_fresh(step.name) and step.table.is_there:
            return _whole(Table.load(step.table.uri))
        inputs = {name: self._get(name) for name in step.reads}
        schemas = {name: table.schema for name, table in inputs.items()}
        query = check_query(step.name, step.config["sql"], step.stream, schemas, step.config["partition_by"])
        with duck.connect() as connection:
            for name in query.tables:
                if name != query.stream:
                    broadcast.put(connection, name, inputs[name].select(query.columns[name]))
            made = run(connection, query, inputs[step.stream])
        return made.drop_columns([CARRY]) if query.carries else made

    def _is_fresh(self, name: str) -> bool:
        """Whether a table is not what it was in training, as one of its sources is not."""
        if name in self.recipe.steps:
            reads = self.recipe.steps[name].reads
            return any(map(self._is_fresh, reads))
        if name not in self._fresh:
            source = self.recipe.sources[name]
            content = sources.source_content(source.config, self.memo) if name not in self.places else None
            self._fresh[name] = content is None or content.fingerprint != source.fingerprint
        return self._fresh[name]


def _whole(table: Table) -> pa.Table:
    return read_table(table, table.schema.names)
