"""The pictures: where marks stand, on which axis."""

import re
from xml.etree import ElementTree

import pytest

from pipeline.report.charts import Dot, bar, dots, trials
from pipeline.report.markup import Html, element, join, table


def marks(picture: str, name: str, look: str) -> list[dict[str, str]]:
    return [dict(found.attrib) for found in ElementTree.fromstring(picture).iter(name) if found.get("class") == look]


def ticks(picture: str) -> list[str]:
    return [str(found.text) for found in ElementTree.fromstring(picture).iter("text") if found.get("class") == "tick"]


def test_dots_stand_at_their_values_between_their_whiskers() -> None:
    picture = dots([Dot("a", 0.7, 0.65, 0.75), Dot("b", 0.8, None, None, other=0.6)], 0.7, "auc")
    first, second = (float(mark["cx"]) for mark in marks(picture, "circle", "dot"))
    (other,) = (float(mark["cx"]) for mark in marks(picture, "circle", "other"))
    lines = [(float(mark["x1"]), float(mark["x2"])) for mark in marks(picture, "line", "whisker")]
    (overall,) = (float(mark["x1"]) for mark in marks(picture, "line", "overall"))
    assert lines[0][0] < first < lines[0][1]
    assert first - lines[0][0] == pytest.approx(lines[0][1] - first, abs=0.2)
    assert second - first == pytest.approx(first - other, abs=0.2)
    assert overall == first
    assert ticks(picture) == ["0.60", "0.65", "0.70", "0.75", "0.80"]


def test_what_cannot_be_told_says_why() -> None:
    picture = dots([Dot("a", None, None, None, "no row has the label 'True'")], None, "auc")
    assert "no row has the label &#x27;True&#x27;" in picture
    assert marks(picture, "circle", "dot") == []


@pytest.mark.parametrize("value", [0.0, 5.0, -3e-9, 1e12])
def test_an_axis_of_one_value_has_room(value: float) -> None:
    (mark,) = marks(dots([Dot("a", value, None, None)], None, "t"), "circle", "dot")
    assert 190 <= float(mark["cx"]) <= 610


def test_bars_are_as_long_as_their_share() -> None:
    assert [re.findall(r'<rect x="0" y="2" width="([\d.]+)"', bar(value, 4.0)) for value in (4.0, 1.0, 0.0, -2.0)] == [
        ["160"], ["40"], ["0"], ["80"],
    ]  # fmt: skip
    assert 'class="bar down"' in bar(-2.0, 4.0)
    assert 'width="0"' in bar(0.0, 0.0)


def test_the_best_trial_stands_out_and_one_without_a_value_is_left_out() -> None:
    picture = trials([(0, 0.5, "complete"), (1, 0.4, "complete"), (2, 0.6, "pruned"), (3, None, "diverged")], 1, "t")
    (best,) = marks(picture, "circle", "dot best")
    (other,) = marks(picture, "circle", "dot")
    (pruned,) = marks(picture, "circle", "other")
    assert float(best["cy"]) > float(other["cy"]) > float(pruned["cy"])  # less is further down
    assert trials([(0, None, "diverged")], -1, "t") == ""


def test_markup_is_kept_and_text_escaped() -> None:
    made = element("p", "<b>", Html("<i></i>"), None, class_='a"b', aria_label="x", hidden=True, id=None, open=False)
    assert made == '<p class="a&quot;b" aria-label="x" hidden>&lt;b&gt;<i></i></p>'
    assert join(["a&b", made]) == f"a&amp;b{made}"


def test_a_table_names_rows_and_columns() -> None:
    made = ElementTree.fromstring(table(("name", "rows"), [("a", "1")], "All", numbers=(1,)))
    assert [(cell.get("scope"), cell.text) for cell in made.iter("th")] == [
        ("col", "name"),
        ("col", "rows"),
        ("row", "a"),
    ]
    (cell,) = made.iter("td")
    assert (cell.text, cell.get("class")) == ("1", "number")
