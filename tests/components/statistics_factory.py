"""Statistics of small tables for tests, counted as the Beam job counts them but without a pipeline."""

from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from beam_jobs.table import Table
from components.arrow_statistics.profiling import CountChunks, groups_of, plan_chunks


def statistics_of(table: Table) -> dict[str, Any]:
    """Each split's `DatasetFeatureStatisticsList`."""
    combine = CountChunks(table.schema.names)
    combine.setup()
    states = {split: combine.create_accumulator() for split in table.splits}
    for group in groups_of(plan_chunks(table)):
        states[group[0].split] = combine.add_input(states[group[0].split], group)
    read = statistics_pb2.DatasetFeatureStatisticsList.FromString
    return {split: read(combine.extract_output(state)) for split, state in states.items()}
