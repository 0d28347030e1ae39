"""Artifact types that TFX has no word for."""

from tfx.types.artifact import Artifact, Property, PropertyType

from components import bucket_filesystem  # noqa: F401  registers itself: artifacts may lie in buckets

ROWS = Property(type=PropertyType.INT)


class SourceTable(Artifact):
    """A table from outside as Braid reads it: a manifest, and Parquet files unless read in place."""

    TYPE_NAME = "SourceTable"
    PROPERTIES = {"rows": ROWS}  # noqa: RUF012  TFX's own way to declare them


class Rejects(Artifact):
    """The rows that could not be read: file, position, raw text, reason."""

    TYPE_NAME = "Rejects"
    PROPERTIES = {"rows": ROWS}  # noqa: RUF012


class PreparedTable(Artifact):
    """The table that a prepare step wrote."""

    TYPE_NAME = "PreparedTable"
    PROPERTIES = {"rows": ROWS}  # noqa: RUF012


class FeatureImportances(Artifact):
    """The small list of features: gain, permutation importance, rank, kept or why not."""

    TYPE_NAME = "FeatureImportances"


class Predictions(Artifact):
    """What a model makes of a table's rows: Parquet files with the rows' `_row`, and a manifest."""

    TYPE_NAME = "Predictions"
    PROPERTIES = {"rows": ROWS}  # noqa: RUF012


class Explanations(Artifact):
    """What each feature adds to a model's predictions: a table of rows, and a summary by feature."""

    TYPE_NAME = "Explanations"
    PROPERTIES = {"rows": ROWS}  # noqa: RUF012
