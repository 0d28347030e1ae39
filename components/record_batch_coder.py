"""How Beam passes Arrow batches from one stage to the next.

TensorFlow Data Validation, once imported anywhere in the process, has every graph name its coder; workers of steps that do
not use that library cannot load it.
"""

from typing import Any

import apache_beam as beam
import pyarrow as pa


class RecordBatchCoder(beam.coders.Coder):
    """A batch as a stream of Arrow's."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """The schema and the batch."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as stream:
            stream.write_batch(value)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch."""
        return pa.ipc.open_stream(encoded).read_next_batch()

    def is_deterministic(self) -> bool:
        """False: equal batches may have other buffers."""
        return False

    def to_type_hint(self) -> Any:
        """What it encodes."""
        return pa.RecordBatch


def register() -> None:
    """From now on graphs name this coder, whatever has been imported before."""
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
