import json

import pytest

from components.errors import StepError
from components.evaluator.decision import Decision, choose, decide
from components.evaluator.rules import Bound, ChampionRule, FairnessRule, Rules

NO_CHAMPION = "There is none yet."


def node(auc: float | None, rows: int = 500, champion: float | None = None) -> dict:
    found = {"rows": rows, "auc": figure(auc, "" if auc is not None else "no row has the label 'late'")}
    if champion is not None:
        found |= {"champion": {"auc": figure(champion)}, "difference": {"auc": figure(auc - champion)}}
    return found


def sliced(slices: dict, crosses: list | None = None, gap: dict | None = None, auc: float = 0.7) -> dict:
    found = report(auc)
    found["splits"]["test"] |= {
        "slices": {"origin": slices},
        "crosses": crosses or [],
        "fairness": [gap] if gap else [],
    }
    return found


def figure(value: float | None, reason: str = "") -> dict:
    return {"value": value, "low": None, "high": None, **({"reason": reason} if reason else {})}


def report(auc: float | None, champion: float | None = None, log_loss: float = 0.5, reason: str = "") -> dict:
    overall = {"rows": 100, "auc": figure(auc, reason), "log_loss": figure(log_loss)}
    if champion is not None:
        difference = None if auc is None else auc - champion
        overall["champion"] = {"auc": figure(champion), "log_loss": figure(0.4)}
        overall["difference"] = {"auc": figure(difference), "log_loss": figure(log_loss - 0.4)}
    return {"task": "binary", "splits": {"test": {"overall": overall}}}


def test_a_threshold_that_is_kept_blesses_and_its_bounds_are_included():
    rules = Rules(thresholds={"auc": Bound(min=0.7), "log_loss": Bound(max=0.5)}, champion=None)
    decision = decide(report(0.7), rules, NO_CHAMPION)
    assert decision.blessed
    assert decision.reasons[0] == "On 'test', auc is 0.7 (too few rows for an interval); it had to be at least 0.7."


def test_every_threshold_that_is_not_kept_is_a_reason():
    rules = Rules(thresholds={"auc": Bound(min=0.7), "log_loss": Bound(min=0.1, max=0.4)}, champion=None)
    decision = decide(report(0.65), rules, NO_CHAMPION)
    assert not decision.blessed
    assert decision.reasons == (
        "On 'test', auc is 0.65 (too few rows for an interval); it must be at least 0.7.",
        "On 'test', log_loss is 0.5 (too few rows for an interval); it must be at least 0.1 and at most 0.4.",
    )


def test_a_metric_that_cannot_be_told_keeps_no_threshold():
    rules = Rules(thresholds={"auc": Bound(min=0.0)}, champion=None)
    decision = decide(report(None, reason="no row has the label 'late'"), rules, NO_CHAMPION)
    assert not decision.blessed and "no row has the label 'late'" in decision.reasons[0]


def test_a_first_model_whose_metric_cannot_be_told_is_not_blessed():
    decision = decide(report(None, reason="only one class"), Rules(champion=ChampionRule("auc", 0.0)), NO_CHAMPION)
    assert not decision.blessed
    assert decision.reasons == ("On 'test', auc cannot be told (only one class).",)


@pytest.mark.parametrize(("auc", "blessed"), [(0.72, True), (0.7, True), (0.695, True), (0.68, False)])
def test_a_model_may_be_worse_than_the_champion_by_so_much(auc, blessed):
    decision = decide(report(auc, 0.7), Rules(champion=ChampionRule("auc", 0.01)), NO_CHAMPION)
    assert decision.blessed == blessed
    assert "the champion's on the same rows 0.7" in decision.reasons[0]


@pytest.mark.parametrize(("log_loss", "blessed"), [(0.39, True), (0.405, True), (0.42, False)])
def test_less_is_better_where_it_is(log_loss, blessed):
    rules = Rules(champion=ChampionRule("log_loss", 0.01))
    assert decide(report(0.7, 0.7, log_loss), rules, NO_CHAMPION).blessed == blessed


def test_without_a_champion_the_thresholds_decide_and_it_is_said():
    rules = Rules(thresholds={"auc": Bound(min=0.6)})
    passed, failed = (decide(report(auc), rules, NO_CHAMPION) for auc in (0.7, 0.5))
    assert passed.blessed and "Not compared with a champion: There is none yet." in passed.reasons
    assert not failed.blessed


@pytest.mark.parametrize("thresholds", [{}, {"auc": Bound()}])
def test_a_model_that_nothing_was_asked_of_is_not_blessed(thresholds):
    decision = decide(report(0.99), Rules(thresholds=thresholds, champion=None), NO_CHAMPION)
    assert not decision.blessed and "nothing to bless by" in decision.reasons[0]


def test_the_pipelines_configuration_parses():
    text = {
        "slices": ["carrier"],
        "thresholds": {"auc": {"min": 0.68, "max": None}},
        "champion": {"metric": "", "at_most_worse": 0.01},
    }
    rules = Rules.parse(json.dumps(text)).check("binary")
    assert rules == Rules(
        slices=("carrier",), thresholds={"auc": Bound(0.68)}, champion=ChampionRule("", 0.01), decide_on="test"
    )
    assert rules.champion_metric("binary").name == "auc" and rules.champion_metric("regression").name == "rmse"
    assert Rules.parse('{"champion": null}').champion is None
    assert Rules.parse("") == Rules()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thresold": {}}, "no setting 'thresold'. Did you mean 'thresholds'"),
        ({"thresholds": {"auc": {"least": 1}}}, "thresholds: auc has no setting 'least'"),
        ({"thresholds": {"auc": {"min": "0.7"}}}, 'min must be a number, not "0.7"'),
        ({"slices": "carrier"}, 'slices must be a list of names, not "carrier"'),
        ({"decide_on": "train"}, "decide_on is 'train'"),
        ({"intervals": "bootstap"}, "intervals is 'bootstap'. Did you mean 'bootstrap'"),
        ({"resamples": 3}, "resamples is 3; it must be from 40 to 1000"),
        ({"engine": "tmfa"}, "engine is 'tmfa'. Did you mean 'tfma'"),
        ({"tfma": 1}, "tfma must be true or false, not 1"),
        ({"slice_rows": 0}, "slice_rows is 0; it must be 1 or more"),
        ({"crosses": [["origin"]]}, 'crosses: ["origin"] names fewer than two columns'),
        ({"crosses": ["origin", "carrier"]}, 'each of crosses must be a list of names, not "origin"'),
        ({"fairness": [{"colum": "origin"}]}, "fairness has no setting 'colum'. Did you mean 'column'"),
        ({"fairness": {"column": "origin"}}, "fairness must be a list"),
        ({"fairness": [{"column": "origin"}]}, "lacks max_gap"),
        ({"fairness": [{"column": "origin", "max_gap": -0.1}]}, "max_gap is -0.1; it must be 0 or more"),
        ({"fairness": [{"column": "o", "metric": "acu", "max_gap": 0.1}]}, "fairness: 'acu' is not a metric"),
        ({"slice_thresholds": {"origin": {"acu": {}}}}, "slice_thresholds: origin: 'acu' is not a metric"),
        ({"slice_thresholds": {"origin": {"auc": {"mim": 1}}}}, "no setting 'mim'. Did you mean 'min'"),
        ({"thresholds": {"base_rate": {"at_most_worse": 0}}}, "of 'base_rate' neither more nor less is better"),
        ({"thresholds": {"auc": {"at_most_worse": -1}}}, "at_most_worse is -1; it must be 0 or more"),
        (
            {"thresholds": {"auc": {"at_most_worse": 0}}, "champion": None},
            "thresholds: auc: at_most_worse compares with the champion, and champion is null",
        ),
        ({"champion": {"at_most_worse": -1}}, "at_most_worse is -1"),
        ({"champion": {"metric": "auk"}}, "champion: 'auk' is not a metric of a binary model. Did you mean 'auc'"),
        ({"champion": {"metric": "base_rate"}}, "of 'base_rate' neither more nor less is better"),
        ({"thresholds": {"rmse": {"max": 1}}}, "thresholds: 'rmse' is not a metric of a binary model"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(config, message):
    with pytest.raises(StepError) as caught:
        Rules.parse(json.dumps(config)).check("binary")
    assert message in str(caught.value)


def test_the_hint_lists_the_metrics_of_the_task():
    with pytest.raises(StepError) as caught:
        Rules(thresholds={"auc": Bound(min=1)}).check("multiclass")
    assert "macro_auc" in caught.value.hint and "macro_f1" in caught.value.hint


@pytest.mark.parametrize(("auc", "blessed"), [(0.51, True), (0.5, False), (0.33, False)])
def test_without_threshold_and_champion_a_model_must_be_better_than_guessing(auc, blessed):
    decision = decide(report(auc), Rules(), NO_CHAMPION)
    assert decision.blessed == blessed
    assert "guessing has 0.5" in decision.reasons[-1]


ORIGIN = {"origin": {"auc": Bound(min=0.6)}}


def test_a_bound_on_slices_holds_for_each_that_has_enough_rows():
    rules = Rules(slice_thresholds=ORIGIN, champion=None)
    kept = decide(sliced({"JFK": node(0.65), "EWR": node(0.6), "LGA": node(0.4, 99)}), rules, "")
    assert kept.blessed
    assert kept.reasons == ("On 'test', auc keeps its bounds in 2 slices of origin (1 more have too few rows).",)
    broken = decide(sliced({"JFK": node(0.65), "EWR": node(0.59), "LGA": node(None)}), rules, "")
    assert not broken.blessed
    assert broken.reasons == (
        "On 'test', where origin is EWR, auc is 0.59 (too few rows for an interval); it must be at least 0.6.",
        "On 'test', where origin is LGA, auc cannot be told (no row has the label 'late'); it must be at least 0.6.",
    )


def test_a_bound_on_slices_that_are_all_small_is_not_kept():
    decision = decide(sliced({"JFK": node(0.9, 99)}), Rules(slice_thresholds=ORIGIN, champion=None), "")
    assert decision.reasons == ("On 'test', no slice of origin has 100 rows to hold to its bounds.",)


def test_a_bound_on_crossed_columns():
    rules = Rules(slice_thresholds={"origin, carrier": {"auc": Bound(min=0.6)}}, champion=None)
    assert rules.all_slices() == (("origin", "carrier"),)
    crossed = [{"columns": ["origin", "carrier"], "slices": [{"values": ["JFK", "AA"], **node(0.5)}]}]
    decision = decide(sliced({}, crossed), rules, "")
    assert "where origin is JFK, carrier is AA, auc is 0.5" in decision.reasons[0]


@pytest.mark.parametrize(("auc", "blessed"), [(0.7, True), (0.685, True), (0.68, True), (0.67, False)])
def test_a_slice_may_be_worse_than_the_champions_by_so_much(auc, blessed):
    rules = Rules(slice_thresholds={"origin": {"auc": Bound(at_most_worse=0.0201)}})
    found = sliced({"JFK": node(auc, champion=0.7), "EWR": node(0.9, champion=0.8)})
    found["splits"]["test"]["overall"] |= node(0.8, champion=0.8)
    assert decide(found, rules, "").blessed == blessed


def test_without_a_champion_a_slice_is_held_to_nothing_but_its_own_bounds():
    rules = Rules(slice_thresholds={"origin": {"auc": Bound(at_most_worse=0.02)}})
    decision = decide(sliced({"JFK": node(0.3)}), rules, NO_CHAMPION)
    assert decision.blessed and "Not compared with a champion" in decision.reasons[0]


@pytest.mark.parametrize(("gap", "blessed"), [(0.05, True), (0.051, False), (None, False)])
def test_a_gap_between_slices_may_be_so_large(gap, blessed):
    rules = Rules(fairness=(FairnessRule("origin", "auc", 0.05),), champion=None)
    ends = {"highest": {"values": ["JFK"], "value": 0.75}, "lowest": {"values": ["LGA"], "value": 0.7}}
    told = {"columns": ["origin"], "metric": "auc", "gap": figure(gap), "slices": 3, "left_out": 1, **ends}
    decision = decide(sliced({}, gap=told), rules, "")
    assert decision.blessed == blessed
    if gap is not None:
        assert "auc is 0.75 where origin is JFK and 0.7 where origin is LGA: a gap of 0.05" in decision.reasons[0]


def decided(passed: bool) -> Decision:
    return Decision(passed, ())


@pytest.mark.parametrize(
    ("aucs", "passed", "chosen"),
    [
        ((0.7, 0.8, 0.75), (True, True, True), "b"),
        ((0.7, 0.8, 0.75), (True, False, True), "c"),
        ((0.7, 0.8, 0.8), (True, True, True), "b"),
        ((0.7, 0.8, 0.75), (False, False, False), "b"),
        ((None, 0.5, None), (True, True, True), "b"),
    ],
)
def test_the_best_that_passes_is_chosen_and_of_equals_the_first(aucs, passed, chosen):
    reports = {name: report(auc, reason="none") for name, auc in zip("abc", aucs, strict=True)}
    decisions = {name: decided(each) for name, each in zip("abc", passed, strict=True)}
    assert choose(reports, decisions, Rules()) == chosen


def test_the_best_has_the_least_where_less_is_better():
    reports = {"a": report(0.9, log_loss=0.5), "b": report(0.7, log_loss=0.4)}
    decisions = dict.fromkeys("ab", decided(True))
    assert choose(reports, decisions, Rules(champion=ChampionRule("log_loss"))) == "b"
    assert choose(reports, decisions, Rules(champion=None)) == "a"
