import json
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from parquet_parts import write_part
from sklearn import metrics as sk

from beam_jobs import progress
from beam_jobs.errors import DataError
from beam_jobs.intervals import Intervals
from beam_jobs.judgement import CANDIDATE, CHAMPION, Gap, Question, nodes_of
from beam_jobs.judging import JudgeExamples, Judging, read_reports
from beam_jobs.ledger import Ledger
from beam_jobs.table import ROW, Table

LOCAL = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]


@dataclass(frozen=True)
class ColumnPredictor:
    """Predicts what a column says."""

    column: str

    def predict(self, batch: pa.RecordBatch) -> np.ndarray:
        return batch.column(self.column).to_numpy()

    def labels(self, batch: pa.RecordBatch) -> np.ndarray:
        return batch.column("label").to_numpy(zero_copy_only=False).astype(np.float32)


def rows_of(count: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    p = rng.random(count).astype(np.float32)
    noisy = np.clip(p + rng.normal(0, 0.3, count), 0, 1).astype(np.float32)
    carrier = rng.choice(["AA", "UA", "EV"], count)
    return pa.table(
        {
            "good": pa.array(p),
            "worse": pa.array(noisy),
            "label": pa.array((rng.random(count) < p).astype(float), mask=rng.random(count) < 0.1),
            "carrier": pa.array(carrier, mask=rng.random(count) < 0.1),
        }
    )


def written(folder, splits: dict[str, pa.Table]) -> Table:
    """Two parts a split, row groups of 1,000."""
    parts = tuple(
        write_part(folder, f"{split}-{chunk}.parquet", piece, chunk, split)
        for split, rows in splits.items()
        for chunk, piece in enumerate((rows.slice(0, rows.num_rows // 3), rows.slice(rows.num_rows // 3)))
    )
    return Table(str(folder), next(iter(splits.values())).schema, parts, True, Ledger())


def judged(
    table: Table, folder, models: dict[str, str], slices=(("carrier",),), splits=("eval", "test"), **asked
) -> dict:
    """The first candidate's report."""
    return next(iter(all_judged(table, folder, models, slices, splits, **asked).values()))


def all_judged(table: Table, folder, models: dict[str, str], slices, splits, **asked) -> dict:
    judging = Judging(
        job="evaluator",
        question=Question("binary", "label", ("on time", "late"), splits, **asked),
        models={name: partial(ColumnPredictor, column) for name, column in models.items()},
        columns=(*models.values(), "label"),
        slices=tuple(slices),
        output=f"{folder}/metrics.json",
    )
    with progress.original_errors(), beam.Pipeline(options=PipelineOptions(LOCAL)) as pipeline:
        _ = pipeline | JudgeExamples(table, judging)
    return read_reports(judging.output)


def test_two_models_are_judged_on_the_same_rows_of_each_split_and_slice(tmp_path):
    splits = {"train": rows_of(500, 2), "eval": rows_of(2_500), "test": rows_of(4_000, 1)}
    table = written(tmp_path, splits)
    found = judged(table, tmp_path, {CANDIDATE: "good", CHAMPION: "worse"})
    assert list(found["splits"]) == ["eval", "test"]
    for split in ("eval", "test"):
        frame = splits[split].to_pandas()
        known = frame[frame.label.notna()]
        overall = found["splits"][split]["overall"]
        assert (overall["rows"], overall["unlabelled"]) == (len(known), len(frame) - len(known))
        slices = found["splits"][split]["slices"]["carrier"]
        assert set(slices) == {"AA", "UA", "EV", "(null)"}
        assert sum(node["rows"] for node in slices.values()) == len(known)
        assert sum(node["unlabelled"] for node in slices.values()) == overall["unlabelled"]
        for node, mine in [(overall, known), *((slices[c], known[known.carrier == c]) for c in ("AA", "UA", "EV"))]:
            good, worse = sk.roc_auc_score(mine.label, mine.good), sk.roc_auc_score(mine.label, mine.worse)
            assert node["auc"]["value"] == pytest.approx(good, abs=1e-9)
            assert node["champion"]["auc"]["value"] == pytest.approx(worse, abs=1e-9)
            assert node["difference"]["auc"]["value"] == pytest.approx(good - worse, abs=1e-9)
            assert node["auc"]["low"] < good < node["auc"]["high"]
            assert node["difference"]["auc"]["low"] > 0
            loss = sk.log_loss(mine.label, mine.good.astype(np.float64))
            assert node["log_loss"]["value"] == pytest.approx(loss, abs=1e-6)


def test_a_paired_difference_is_known_better_than_either_model(tmp_path):
    table = written(tmp_path, {"test": rows_of(4_000)})
    overall = judged(table, tmp_path, {CANDIDATE: "good", CHAMPION: "good"}, splits=("test",))["splits"]["test"][
        "overall"
    ]
    assert overall["difference"]["auc"] == {"value": 0, "low": 0, "high": 0}


def test_the_report_is_the_same_again(tmp_path):
    table = written(tmp_path, {"test": rows_of(4_000)})
    one, other = (judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",)) for _ in range(2))
    assert one == other


def test_what_cannot_be_told_is_null_and_says_why(tmp_path):
    rows = rows_of(400)
    one_class = pa.array(np.where(np.array(rows["carrier"].to_pylist()) == "AA", 0.0, rows["label"].to_numpy()))
    table = written(tmp_path, {"test": rows.set_column(2, "label", one_class)})
    judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",))
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    node = json.loads(text)["candidate"]["splits"]["test"]["slices"]["carrier"]["AA"]
    assert node["auc"] == {"value": None, "low": None, "high": None, "reason": "no row has the label 'late'"}
    assert node["accuracy"]["value"] is not None


def test_a_split_without_a_label_is_an_error(tmp_path):
    rows = rows_of(100)
    table = written(tmp_path, {"test": rows.set_column(2, "label", pa.array([None] * 100, pa.float64()))})
    with pytest.raises(DataError, match="Split 'test' has no row to judge a model on: 100 rows") as caught:
        judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",))
    assert caught.value.hint
    assert not (tmp_path / "metrics.json").exists()


def test_an_empty_split_is_an_error_before_the_job_runs(tmp_path):
    table = written(tmp_path, {"test": rows_of(100)})
    with pytest.raises(DataError, match=r"no row in split 'tset'. Did you mean 'test'\?"):
        judged(table, tmp_path, {CANDIDATE: "good"}, splits=("tset",))


def test_a_prediction_that_is_no_probability_is_an_error(tmp_path):
    rows = rows_of(100)
    table = written(tmp_path, {"test": rows.set_column(0, "good", pa.array(np.full(100, 1.5, np.float32)))})
    with pytest.raises(DataError, match=r"The model 'candidate' predicts 1.5 where a probability is expected"):
        judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",))


def test_a_label_that_is_no_class_is_an_error(tmp_path):
    rows = rows_of(100)
    table = written(tmp_path, {"test": rows.set_column(2, "label", pa.array(np.full(100, 2.0)))})
    with pytest.raises(DataError, match="Label 'label' is 2 in"):
        judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",))


def test_crosses_are_sliced_by_the_values_of_their_columns(tmp_path):
    rows = rows_of(4_000)
    rows = rows.append_column("weekend", pa.array(np.arange(4_000) % 7 < 2))
    table = written(tmp_path, {"test": rows})
    cross = ("carrier", "weekend")
    found = judged(table, tmp_path, {CANDIDATE: "good", CHAMPION: "worse"}, (cross, ("weekend",)), ("test",))
    split = found["splits"]["test"]
    assert set(split["slices"]) == {"weekend"}
    [crossed] = split["crosses"]
    assert crossed["columns"] == list(cross)
    assert len(crossed["slices"]) == 8 == len(nodes_of(split, cross))
    known = rows.to_pandas().dropna(subset="label")
    for node in crossed["slices"]:
        carrier, weekend = node["values"]
        mine = known[known.carrier.fillna("(null)").eq(carrier) & known.weekend.eq(weekend == "true")]
        assert node["rows"] == len(mine)
        assert node["auc"]["value"] == pytest.approx(sk.roc_auc_score(mine.label, mine.good), abs=1e-9)
        assert node["champion"]["pr_auc"]["value"] == pytest.approx(
            sk.average_precision_score(mine.label, mine.worse), abs=1e-9
        )


def test_several_candidates_are_judged_in_one_job_beside_one_champion(tmp_path):
    rows = rows_of(3_000)
    table = written(tmp_path, {"test": rows})
    models = {"one": "good", "two": "worse", CHAMPION: "worse"}
    found = all_judged(table, tmp_path, models, (), ("test",))
    assert list(found) == ["one", "two"]
    one, two = (found[name]["splits"]["test"]["overall"] for name in found)
    assert one["champion"] == two["champion"] == {name: two[name] for name in one["champion"]}
    assert one["difference"]["auc"]["value"] > 0 and two["difference"]["auc"]["value"] == 0


@pytest.mark.parametrize("method", ["jackknife", "bootstrap"])
def test_a_gap_is_the_distance_of_the_outermost_slices(tmp_path, method):
    rows = rows_of(4_000)
    rare = pa.array(["ZZ"] * 30 + rows["carrier"].to_pylist()[30:])
    table = written(tmp_path, {"test": rows.set_column(3, "carrier", rare)})
    gap = Gap(("carrier",), "auc")
    found = judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",), gaps=(gap,), intervals=Intervals(method, 60))
    split = found["splits"]["test"]
    values = {name: node["auc"]["value"] for name, node in split["slices"]["carrier"].items() if name != "ZZ"}
    [told] = split["fairness"]
    assert (told["columns"], told["metric"]) == (["carrier"], "auc")
    assert (told["slices"], told["left_out"]) == (4, 1)
    assert told["gap"]["value"] == pytest.approx(max(values.values()) - min(values.values()), abs=1e-11)
    assert told["highest"]["values"] == [max(values, key=values.get)]
    assert told["lowest"] == {"values": [min(values, key=values.get)], "value": min(values.values())}
    assert 0 <= told["gap"]["low"] < told["gap"]["value"] < told["gap"]["high"] < 0.2


def test_a_gap_between_fewer_than_two_slices_cannot_be_told(tmp_path):
    table = written(tmp_path, {"test": rows_of(300)})
    asked = {"gaps": (Gap(("carrier",), "auc"),), "fewest_rows": 250}
    [told] = judged(table, tmp_path, {CANDIDATE: "good"}, splits=("test",), **asked)["splits"]["test"]["fairness"]
    assert told["gap"]["value"] is None and (told["slices"], told["left_out"]) == (0, 4)


def test_bootstrapped_intervals_are_the_same_however_the_rows_are_cut(tmp_path):
    rows = rows_of(3_000)
    asked = {"splits": ("test",), "intervals": Intervals("bootstrap", 50)}
    found = []
    for name, cut in (("a", 1_000), ("b", 2_500)):
        identified = rows.append_column(ROW, pa.array(np.arange(3_000)))
        parts = tuple(
            write_part(tmp_path / name, f"{chunk}.parquet", piece, chunk, "test", stores_rows=False)
            for chunk, piece in enumerate((identified.slice(0, cut), identified.slice(cut)))
        )
        table = Table(str(tmp_path / name), rows.schema, parts, True, Ledger())
        found.append(judged(table, tmp_path, {CANDIDATE: "good", CHAMPION: "worse"}, **asked))
    assert found[0] == found[1]
    overall = found[0]["splits"]["test"]["overall"]
    assert overall["auc"]["low"] < overall["auc"]["value"] < overall["auc"]["high"]
    assert overall["difference"]["auc"]["low"] > 0
