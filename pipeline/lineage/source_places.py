"""Places in source files: which `_row` the record at a byte, or of a number, has, and what became of it."""

from collections.abc import Iterator

import numpy as np

from beam_jobs import storage
from beam_jobs.errors import DataError, listed
from beam_jobs.sources import SourceConfig, find_files
from beam_jobs.table import Origin, Table, row_id
from beam_jobs.text_chunks import TextChunk, TextFile, read_blocks
from beam_jobs.text_records import Grammar, LineGrammar
from pipeline.lineage.archive import Archive
from pipeline.lineage.errors import LineageError
from pipeline.lineage.records import Artifact
from pipeline.lineage.rows import Followed, follow_rows, sources_of
from pipeline.lineage.source_files import FileUse, SourceFile
from pipeline.lineage.tables import examples_of, maker, open_table, outputs_of


def follow_place(
    archive: Archive, use: FileUse, record: int | None = None, byte: int | None = None
) -> list[tuple[Artifact, Followed]]:
    """Follows one record of a file into every model that was made from the file, newest first.

    Args:
      use: what was made from the file; of several versions, each is looked at.
      record: its number, from 1.
      byte: or a byte that it holds, from 0.

    Raises:
      LineageError: `use` is of several files, there is no such record, or a table is gone.
    """
    paths = sorted({file.path for file in use.files})
    if len(paths) > 1:
        raise LineageError(f"'{use.path}' is {len(paths)} files.", f"Name one of them: {listed(paths, 4)}.")
    models = [artifact for artifact in use.lineage.artifacts.values() if artifact.type == "Model"]
    found: list[tuple[Artifact, Followed]] = []
    for file in use.files:
        row = row_of_record(archive, file, record) if record is not None else row_at_byte(archive, file, byte or 0)
        for model in models:
            examples = examples_of(archive, model)
            if file.table.id in {table.id for table in sources_of(archive, examples).values()}:
                found.append((model, follow_rows(archive, file.table, np.array([row], np.int64), examples)))
    return sorted(found, key=lambda pair: -pair[0].id)


def row_of_record(archive: Archive, file: SourceFile, number: int) -> int:
    """`_row` of a file's record of that number, from 1; header lines and blank lines are no records.

    Raises:
      LineageError: the file has no such record, or its table is gone.
    """
    before = 0
    for chunk, records in _records(archive, file, open_table(file.table)):
        if number <= before + records:
            return row_id(chunk, number - before - 1)
        before += records
    raise LineageError(f"'{file.path}' has {before:,} records; there is no record {number:,}.", "Records count from 1.")


def row_at_byte(archive: Archive, file: SourceFile, byte: int) -> int:
    """`_row` of the record that holds a byte of the file's (decompressed) text, from 0.

    Raises:
      LineageError: the file is no text or changed since it was read, or the byte lies outside its records.
    """
    origins = [o for o in open_table(file.table).origins if o.file == file.path and o.unit == "bytes"]
    if not origins:
        raise LineageError(f"'{file.path}' is no text file, so a byte of it is no row.", "Ask by --row instead.")
    if file.now != "unchanged":
        told = {"gone": "gone", "changed": "not what it was when it was read"}.get(file.now, "of unknown content")
        raise LineageError(
            f"'{file.path}' is {told}, so its bytes no longer tell which row was read.",
            "Ask by --row, or put the file back as it was.",
        )
    origin = next((origin for origin in origins if origin.start <= byte < origin.stop), None)
    if origin is None:
        first, last = min(o.start for o in origins), max(o.stop for o in origins)
        raise LineageError(
            f"Byte {byte:,} of '{file.path}' is in no record.", f"Its records are in bytes {first:,} to {last - 1:,}."
        )
    return row_id(origin.chunk, _place(archive, file, origin, byte))


def _records(archive: Archive, file: SourceFile, table: Table) -> Iterator[tuple[int, int]]:
    """The file's chunks in order, each with its records: rows and rejects."""
    if not table.stores_rows:
        yield from ((part.chunk, part.rows) for part in table.parts if table.path(part) == file.path)
        return
    rejects = next(iter(outputs_of(archive, maker(archive, file.table)).get("rejects", [])), None)
    parts = [*table.parts, *(open_table(rejects).parts if rejects else ())]
    for origin in sorted((o for o in table.origins if o.file == file.path), key=lambda o: o.start):
        yield origin.chunk, sum(part.rows for part in parts if part.chunk == origin.chunk)


def _place(archive: Archive, file: SourceFile, origin: Origin, byte: int) -> int:
    """How many records of the chunk come before the one with the byte."""
    grammar, place = _grammar(archive, file), 0
    text = TextFile.of(storage.FileInfo(file.path, file.size))
    chunk = TextChunk(origin.chunk, file.path, text.compression, origin.start, origin.stop, 1)
    try:
        for block in read_blocks(chunk, grammar):
            for record in grammar.records(block.data):
                if byte < block.position + record.stop:
                    return place
                place += 1
    except DataError as error:
        raise LineageError(str(error), error.hint) from error
    raise LineageError(f"Byte {byte:,} of '{file.path}' is in no record.", "Blank lines at its end are none.")


def _grammar(archive: Archive, file: SourceFile) -> Grammar:
    reader = maker(archive, file.table)
    if reader is None:
        raise LineageError(f"The store does not say how '{file.path}' was read.", "Ask by --row instead.")
    config = SourceConfig(**reader.properties["source"])
    return config.dialect.grammar if find_files(config).format == "csv" else LineGrammar()
