"""Where a statistics artifact keeps its splits' statistics, and how they are read."""

import json
import os
from typing import Any

from google.protobuf import wrappers_pb2
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.types import artifact_utils

from beam_jobs import storage
from beam_jobs.errors import DataError

STATISTICS_FILE = "FeatureStats.pb"


def statistics_path(statistics: types.Artifact, split: str) -> str:
    """The file of one split, in the layout of TFX's StatisticsGen."""
    return os.path.join(artifact_utils.get_split_uri([statistics], split), STATISTICS_FILE)


def load_statistics(statistics: types.Artifact) -> dict[str, Any]:
    """Each split's `DatasetFeatureStatisticsList`, in the order of the artifact's splits.

    Raises:
      DataError: a file is missing.
    """
    loaded = {}
    for split in artifact_utils.decode_split_names(statistics.split_names):
        path = statistics_path(statistics, split)
        if not storage.exists(path):
            raise DataError(f"'{path}' does not exist.", "Run the statistics step again.")
        with storage.open_input(path) as stream:
            loaded[split] = statistics_pb2.DatasetFeatureStatisticsList.FromString(stream.read())
    return loaded


def column_types(statistics: types.Artifact) -> dict[str, str]:
    """Arrow types by column, as ArrowStatistics recorded them; empty for statistics of TFX's own making."""
    if not statistics.has_custom_property("columns"):
        return {}
    found = statistics.get_json_value_custom_property("columns") or statistics.get_proto_custom_property("columns")
    # Those of a wide table are a long text, which the launcher keeps as a message: some stores refuse long texts.
    return dict(json.loads(found.value) if isinstance(found, wrappers_pb2.StringValue) else found)
