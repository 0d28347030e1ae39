"""The schema as text: read from the user's file, or inferred from the train split.

What is inferred, and why it is no tighter:

- a column without a value in train is PLANNED, which nothing checks: it may be filled with whatever, or dropped;
- type, and one value a row (`value_count`), not a shape: a shape would forbid every null;
- presence: a column without nulls in train may have 1% of them later (`min_fraction: 0.99`); a column with nulls must
  have a value somewhere, and one so rarely filled that a split may well have none of it must not even that;
- a `bool_domain` for bool columns alone, not for every integer that happens to be 0 or 1;
- a list of allowed values for text of at most 100 distinct values, of which at most 1% of the rows may stray
  (`min_domain_mass: 0.99`), unless the list is evidently open: texts that look like dates, many values seen once (by
  Good and Turing, their share is what the next rows will bring of unseen values), or another split already strays far.
"""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pool, text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from beam_jobs import storage
from beam_jobs.errors import nearest
from components.errors import StepError
from components.tfdv_import import tfdv

SCHEMA_FILE = "schema.pbtxt"
MOST_DOMAIN_VALUES = 100
PRESENT_SHARE = 0.99
DOMAIN_SHARE = 0.99
UNSEEN_SHARE = 0.001
OPEN_SHARE = 0.1
RARE_ROWS = 20
_DATE = re.compile(r"^\d{4}-\d{1,2}(-\d{1,2})?|^\d{1,2}[/.]\d{1,2}[/.]\d{2,4}")
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')


def read_schema(path: str) -> Any:
    """Parses a schema file.

    Returns:
      A `tensorflow_metadata` Schema.

    Raises:
      StepError: it is not a schema; the message names file and line.
    """
    with storage.open_input(path) as stream:
        content = stream.read()
    try:
        schema = text_format.Parse(content.decode(), schema_pb2.Schema())
    except UnicodeDecodeError as error:
        raise StepError(f"The schema '{path}' is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    except text_format.ParseError as error:
        raise _not_parsed(path, error) from error
    _check(path, schema)
    return schema


def _not_parsed(path: str, error: text_format.ParseError) -> StepError:
    reason = re.sub(r"^\d+:\d+ : ", "", str(error))
    found = _NO_FIELD.search(reason)
    if found is not None:
        message, field = found.groups()
        known = descriptor_pool.Default().FindMessageTypeByName(message).fields_by_name
        reason = f"a {message.rpartition('.')[2]} has no field '{field}'.{nearest(field, known)}"
    return StepError(
        f"The schema '{path}' cannot be read, line {error.GetLine()}: {reason}",
        "Mend that line, or delete the file to have the schema inferred anew.",
    )


def _check(path: str, schema: Any) -> None:
    names = [feature.name for feature in schema.feature]
    if not names:
        raise StepError(f"The schema '{path}' names no column.", "Delete the file to have the schema inferred anew.")
    domains = [domain.name for domain in schema.string_domain]
    for kind, every in (("feature", names), ("string_domain", domains)):
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice:
            raise StepError(f"The schema '{path}' has {kind} '{twice[0]}' more than once.", "Remove all but one.")
    for feature in schema.feature:
        if feature.domain and feature.domain not in domains:
            raise StepError(
                f"The schema '{path}' gives column '{feature.name}' the domain '{feature.domain}', but has no "
                f"string_domain of that name.{nearest(feature.domain, domains)}",
                "Add the string_domain, or remove the line 'domain' of the column.",
            )


def infer_schema(statistics: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    """Infers a schema as this module's text says.

    Args:
      statistics: each split's `DatasetFeatureStatisticsList`; from `train` if there is one, else from the first.
      columns: Arrow types by column, as far as known.

    Returns:
      A `tensorflow_metadata` Schema.

    Raises:
      StepError: there is no row to infer from.
    """
    train = "train" if "train" in statistics else next(iter(statistics), "")
    if not train or not statistics[train].datasets[0].num_examples:
        raise StepError(
            f"No schema can be inferred: split '{train or 'train'}' is empty.", "Check how the examples are split."
        )
    schema = tfdv.infer_schema(statistics[train], infer_feature_shape=False, max_string_domain_size=MOST_DOMAIN_VALUES)
    features = {split: _by_name(one) for split, one in statistics.items()}
    others = [by_name for split, by_name in features.items() if split != train]
    smallest = min(one.datasets[0].num_examples for one in statistics.values())
    for feature in schema.feature:
        _loosen(feature, columns.get(feature.name, ""))
        filled = _filled_share(features[train][feature.name])
        if not filled:
            feature.lifecycle_stage = schema_pb2.PLANNED
        if filled * smallest < RARE_ROWS:
            feature.ClearField("presence")
        if feature.domain and _is_open(feature.name, features[train], others):
            feature.ClearField("domain")
            feature.ClearField("distribution_constraints")
    used = {feature.domain for feature in schema.feature}
    kept = [domain for domain in schema.string_domain if domain.name in used]
    del schema.string_domain[:]
    schema.string_domain.extend(kept)
    return schema


def _by_name(statistics: Any) -> dict[str, Any]:
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def _filled_share(feature: Any) -> float:
    """The share of rows in which a column of some statistics is not null."""
    common = feature.num_stats.common_stats if feature.HasField("num_stats") else feature.string_stats.common_stats
    rows = common.num_non_missing + common.num_missing
    return common.num_non_missing / rows if rows else 0.0


def _loosen(feature: Any, arrow_type: str) -> None:
    if feature.presence.min_fraction == 1.0:
        feature.presence.min_fraction = PRESENT_SHARE
    if feature.WhichOneof("domain_info") == "bool_domain" and arrow_type not in ("", "bool"):
        feature.ClearField("bool_domain")
    if feature.domain:
        feature.distribution_constraints.min_domain_mass = DOMAIN_SHARE


def _is_open(column: str, train: Mapping[str, Any], others: list[dict[str, Any]]) -> bool:
    """Whether a column's values in train are evidently not all that there are."""
    counts = text_counts(train[column])
    total = sum(counts.values())
    once = sum(1 for count in counts.values() if count == 1)
    if once > UNSEEN_SHARE * total or all(_DATE.match(value) for value in counts):
        return True
    return any(_stray_share(counts, other[column]) > OPEN_SHARE for other in others if column in other)


def _stray_share(known: Mapping[str, int], feature: Any) -> float:
    counts = text_counts(feature)
    total = sum(counts.values())
    return sum(count for value, count in counts.items() if value not in known) / total if total else 0.0


def text_counts(feature: Any) -> dict[str, int]:
    """Rows by value of a text column's statistics: the rank histogram, which lists its first 1000 values."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: round(bucket.sample_count) for bucket in buckets}


def schema_text(schema: Any) -> str:
    """The schema in the text form of its file."""
    return str(text_format.MessageToString(schema))
