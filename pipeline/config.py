"""The configuration of one pipeline, as types: what may be written in `configs/pipelines/*.yaml`."""

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_serializer,
    model_validator,
)

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
Name = Annotated[str, StringConstraints(pattern=NAME.pattern)]
Moment = datetime.datetime | datetime.date | str

STEP_NAMES = (
    "statistics",
    "schema",
    "validate",
    "select",
    "transform",
    "tune",
    "train",
    "champion",
    "previous",
    "evaluate",
    "explain",
    "push",
)
"""Steps that pipelines have; tables may not take their names."""


class Section(BaseModel):
    """A group of settings: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """A table from outside: files in CSV, Parquet or JSON Lines, local or in a bucket."""

    path: str = Field(
        description="A file, a folder, a glob, `package://name/file`, or a bucket path. Relative paths count from the configuration file."
    )
    format: Literal["", "csv", "parquet", "jsonl"] = Field(
        "", description="The format; taken from the file's ending unless given."
    )
    types: dict[str, str] = Field(
        {},
        description="Declared column types, such as `{zip: string, at: timestamp}`; the rest is inferred from a sample.",
    )
    null_values: list[str] | None = Field(
        None,
        description="Spellings of a missing value in text files (empty, NA, N/A, null, NaN and the like unless given).",
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="The CSV delimiter.")
    columns: list[str] | None = Field(None, description="Column names of a CSV file that has no header line.")
    max_reject_fraction: float = Field(
        0.01, ge=0, le=1, description="The run stops when a larger share of the rows cannot be read."
    )


class PrepareStep(Section):
    """One SQL query over one streamed table and any number of small broadcast tables."""

    stream: Name = Field(
        description="The table that is streamed: a source or an earlier step. Every other table of the query is broadcast."
    )
    sql: str = Field(
        min_length=1,
        description="One SELECT in DuckDB's SQL. Row-wise over the streamed table unless `partition_by` is given.",
    )
    partition_by: list[str] = Field(
        [],
        description="Hash-partition the streamed table on these columns; then aggregates, windows and joins of two large tables are possible.",
    )
    fan_out: bool = Field(False, description="Allow a join to multiply rows of the streamed table.")


class TimeSplit(Section):
    """Splits by time: rows before `eval_from` train, rows before `test_from` evaluate, the rest test."""

    by: Literal["time"]
    column: str = Field(description="A date or timestamp column of the examples.")
    eval_from: Moment = Field(description="The first moment of the eval split, ISO 8601; UTC where it names no zone.")
    test_from: Moment = Field(description="The first moment of the test split.")


class HashSplit(Section):
    """Splits by a documented hash of key columns: rows of one key stay together."""

    by: Literal["hash"]
    columns: list[str] = Field(min_length=1, description="The key columns.")
    shares: dict[Literal["train", "eval", "test"], float] = Field(
        {"train": 0.8, "eval": 0.1, "test": 0.1}, description="The share of each split; they sum to 1."
    )
    seed: int = Field(0, description="Another seed makes another division.")


class ColumnSplit(Section):
    """Splits that a column already names."""

    by: Literal["column"]
    column: str = Field(description="The column that holds the split's name or a value that stands for it.")
    values: dict[Literal["train", "eval", "test"], list[str | int | bool]] = Field(
        description="For each split, the values that mean it."
    )


Split = Annotated[TimeSplit | HashSplit | ColumnSplit, Field(discriminator="by")]


class Examples(Section):
    """The table that models learn from."""

    table: Name = Field(description="A prepare step (which then also splits its rows), or a source.")
    label: str = Field(description="The column to predict.")
    task: Literal["auto", "binary", "multiclass", "regression"] = Field(
        "auto", description="The kind of prediction; found from the label's values unless given."
    )
    split: Split = Field(description="How rows are divided into train, eval and test.")


class Validation(Section):
    """The schema file and the bounds that stop the pipeline."""

    schema_file: str = Field(
        "",
        alias="schema",
        description="The schema, a TensorFlow Metadata text file kept beside the configuration; inferred and written there by the first run. `<config>.schema.pbtxt` unless given.",
    )
    anomalies: Literal["stop", "warn"] = Field("stop", description="What an anomaly does.")
    max_out_of_domain_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The share of rows that may hold a text outside its column's domain; the schema's own bounds unless given.",
    )
    drift: dict[str, float] = Field(
        {},
        description="Bounds from 0 to 1 on drift between train and the other splits, by column; `default` for all others. Text: the largest change of one value's share; numbers: Jensen-Shannon divergence.",
    )

    drift_from_previous: dict[str, float] = Field(
        {}, description="The same bounds on drift from the statistics of the last run on other data, split by split."
    )

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Keep(Section):
    """How many features stay: the best `top`, or those that cover `share` of the importance."""

    top: int | None = Field(None, ge=1)
    share: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> "Keep":
        if (self.top is None) == (self.share is None):
            raise ValueError("give either `top` or `share`")
        return self


class Selection(Section):
    """Feature selection by XGBoost."""

    keep: Keep = Field(Keep(top=None, share=0.99), description="`{top: 20}` or `{share: 0.99}`.")
    exclude: list[str] = Field(
        [], description="Columns that are never features: identifiers, times used only for splitting."
    )
    always: list[str] = Field([], description="Columns that stay whatever their importance.")
    allow_leaks: list[str] = Field(
        [], description="Columns that predict the label almost perfectly and may be used all the same."
    )


class Tuning(Section):
    """A search for a trainer's parameters, by Optuna, before it trains."""

    trials: int = Field(20, ge=1, description="How many sets of parameters are tried.")
    space: dict[str, Any] = Field(
        {},
        description="What is tried, by parameter: `{low: 0.01, high: 0.3, log: true}` or a list of choices; a space of Braid's own unless given.",
    )
    metric: str = Field("", description="The metric on `eval` that decides; the trainer's own unless given.")
    jobs: int = Field(
        1, ge=1, description="Trials at a time; with more than one the order, and so the result, may vary."
    )
    prune: bool = Field(True, description="Stop trials that fall behind the others.")
    seed: int = 0
    sample_rows: int = Field(0, ge=0, description="The most training rows that trials learn from; 0 for all.")
    reuse: str = Field(
        "", description="A run whose tuned parameters are taken instead of a search: its name, or `latest`."
    )


class Training(Section):
    """What trainers of all families have."""

    name: Name | Literal[""] = Field(
        "", description="Tells several trainers of a list apart; their steps are `train_<name>` and `tune_<name>`."
    )

    @property
    def train_step(self) -> str:
        """The step that trains."""
        return f"train_{self.name}" if self.name else "train"

    @property
    def tune_step(self) -> str:
        """The step that searches for parameters, if there is one."""
        return f"tune_{self.name}" if self.name else "tune"


class XgboostTraining(Training):
    """Training of an XGBoost model."""

    family: Literal["xgboost"] = Field("xgboost", description="The library that trains; XGBoost unless given.")
    rounds: int = Field(500, ge=1, description="The most boosting rounds.")
    early_stopping_rounds: int = Field(
        30, ge=0, description="Stop when the eval metric has not improved for this many rounds; 0 never stops early."
    )
    parameters: dict[str, Any] = Field({}, description="XGBoost's own parameters, such as `{eta: 0.1, max_depth: 6}`.")
    memory: Literal["auto", "memory", "external"] = Field(
        "auto", description="Where training rows live; `external` keeps them on disk, `auto` goes by their size."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto` takes a GPU when there is one.")
    seed: int = 0
    threads: int = Field(0, ge=0, description="Threads; 0 takes every core.")
    tune: Tuning | None = Field(None, description="A search for the parameters; none unless given.")


class KerasTraining(Training):
    """Training of a Keras model, on what the step `transform` makes of the features."""

    family: Literal["keras"] = Field(description="The library that trains.")
    epochs: int = Field(20, ge=1, description="The most passes over the training rows.")
    early_stopping_epochs: int = Field(
        3, ge=0, description="Stop when the eval loss has not improved for this many epochs; 0 never stops early."
    )
    parameters: dict[str, Any] = Field(
        {}, description="The model's and its training's, such as `{hidden: [128, 64], learning_rate: 0.001}`."
    )
    module: str = Field("", description="A Python file with a model function of your own; wide and deep unless given.")
    function: str = Field("build_model", description="The function's name in it.")
    memory: Literal["auto", "memory", "streamed"] = Field(
        "auto", description="Whether transformed rows are kept or read anew for each epoch; `auto` goes by their size."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto` takes a GPU when there is one.")
    seed: int = 0
    threads: int = Field(0, ge=0, description="Threads; 0 takes every core.")
    tune: Tuning | None = Field(None, description="A search for the parameters; none unless given.")


FAMILIES = ("xgboost", "keras")


def _family(given: Any) -> str:
    """XGBoost's settings need no `family`."""
    return str(given.get("family", "xgboost") if isinstance(given, dict) else getattr(given, "family", ""))


def _as_list(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


Trainer = Annotated[
    Annotated[XgboostTraining, Tag("xgboost")] | Annotated[KerasTraining, Tag("keras")], Discriminator(_family)
]


class Transformation(Section):
    """How features become a Keras model's inputs, by tensorflow-transform. XGBoost takes them as they are."""

    module: str = Field(
        "",
        description="A Python file with a preprocessing function of your own; one made from the schema unless given.",
    )
    function: str = Field("preprocessing_fn", description="The function's name in it.")
    vocabulary: int = Field(1_000, ge=1, description="The most values of a text column that have an id of their own.")
    oov_buckets: int = Field(1, ge=1, description="Ids shared, by hash, by all other values of a text column.")
    buckets: int = Field(10, ge=2, description="Quantile buckets of a skewed number.")
    skewness: float = Field(1.0, ge=0, description="A number whose distribution is skewed by more has buckets, too.")


class Explanation(Section):
    """Which rows the model's predictions are explained for."""

    rows: int = Field(1_000, ge=1, description="Rows of the test split, drawn by a hash of their identity.")


class Bound(Section):
    """Bounds on a metric."""

    min: float | None = None
    max: float | None = None
    at_most_worse: float | None = Field(
        None, ge=0, description="By how much the metric may be worse than the champion's on the same rows."
    )


class Champion(Section):
    """Comparison with the last blessed model on the same rows."""

    metric: str = Field(
        "",
        description="The metric compared, and by which several candidates are ranked; the task's main one unless given.",
    )
    at_most_worse: float = Field(0.0, ge=0, description="By how much the new model may be worse.")


class Fairness(Section):
    """How far apart a metric may be between the slices of a column."""

    column: str = Field(description="A column, or several that are crossed, such as `origin, carrier`.")
    metric: str = Field("", description="The metric compared; the task's main one unless given.")
    max_gap: float = Field(ge=0, description="The largest distance between the best and the worst slice.")


class Evaluation(Section):
    """How the models are judged."""

    slices: list[str] = Field([], description="Columns by whose values the metrics are also shown.")
    crosses: list[list[str]] = Field(
        [], description="Columns by whose combined values the metrics are also shown, such as `[[origin, carrier]]`."
    )
    thresholds: dict[str, Bound] = Field(
        {}, description="Bounds on the test split that the model must keep, such as `{auc: {min: 0.68}}`."
    )
    slice_thresholds: dict[str, dict[str, Bound]] = Field(
        {},
        description="Bounds in every slice of a column, or of crossed ones, such as `{origin: {auc: {min: 0.6}}}`.",
    )
    fairness: list[Fairness] = Field(
        [], description="Bounds on gaps between slices, such as `[{column: origin, metric: auc, max_gap: 0.05}]`."
    )
    slice_rows: int = Field(
        100, ge=1, description="The fewest rows of a slice that `slice_thresholds` and `fairness` speak of."
    )
    champion: Champion | None = Field(
        Champion(metric="", at_most_worse=0.0), description="Comparison with the last blessed model; `null` for none."
    )
    intervals: Literal["jackknife", "bootstrap"] = Field(
        "jackknife",
        description="How 95% intervals are made: by leaving out twentieths of the rows, or by the Poisson bootstrap.",
    )
    resamples: int = Field(200, ge=40, le=1_000, description="Resamples of the bootstrap.")
    engine: Literal["braid", "tfma"] = Field(
        "braid", description="Who counts: Braid's judge, or tensorflow-model-analysis itself, which takes far longer."
    )
    tfma: bool = Field(
        True, description="Also write the results as tensorflow-model-analysis does, for its views and tools."
    )


class Push(Section):
    """Where a blessed model goes."""

    to: str = Field(
        "",
        description="The folder of versions and the `current` pointer; `serving/` under the pipeline's root unless given.",
    )


class PipelineConfig(Section):
    """One pipeline."""

    name: Name = Field(description="The pipeline's name in ML Metadata.")
    sources: dict[Name, Source] = Field(min_length=1, description="The tables from outside, by name.")
    prepare: dict[Name, PrepareStep] = Field(
        {}, description="The prepare steps, by name; each writes a table of that name."
    )
    examples: Examples
    validate_: Validation = Field(Validation(), alias="validate", description="The gate on the data.")
    select: Selection = Field(Selection(), description="Which columns become features.")
    transform: Transformation = Field(Transformation(), description="How features become a Keras model's inputs.")
    train: Annotated[list[Trainer], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        [XgboostTraining()],
        description="How the model is trained; a list trains several, which are judged on the same rows.",
    )
    evaluate: Evaluation = Field(Evaluation(), description="How the model is judged.")
    explain: Explanation | None = Field(
        Explanation(), description="Which predictions of the chosen model are explained; `null` for none."
    )
    push: Push = Field(Push(), description="Where a blessed model goes.")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_serializer("train", mode="wrap")
    def _as_written(self, value: Any, serialize: Any) -> Any:
        """One trainer without a name is shown as a mapping."""
        shown = serialize(value)
        return shown[0] if len(shown) == 1 and not shown[0]["name"] else shown
