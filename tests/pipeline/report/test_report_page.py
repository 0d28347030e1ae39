"""The report's page: what it shows, its safety, and its drawing, as far as browser and JavaScript are there to try it."""

import base64
import hashlib
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import setuptools
from hostile_text import TEXT
from html_reader import Reader

from components.explanations import Summary
from pipeline.report import explained_rows, page
from pipeline.report.gathering import gather
from tests.pipeline.report.report_world import COMMIT, RUN, Texts, failed_run, whole_run, write_explanations

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return gather(whole_run(tmp_path_factory.mktemp("whole")), RUN)


def words(text: str) -> str:
    """What a reader sees of the page, markup taken away."""
    return " ".join(re.sub(r"<[^>]*>", " ", text.partition("<body>")[2].partition("<script")[0]).split())


def sections(reader: Reader) -> list[str]:
    return [str(found["id"]) for name, found in reader.tags if name == "section"]


def test_it_shows_every_part_of_the_run(whole: dict[str, Any]) -> None:
    text = page.text(whole)
    seen = words(text)
    assert sections(Reader(text)) == [
        *("outcome", "warnings", "candidates", "metrics", "slices", "fairness", "explanations"),
        *("features", "tuning", "steps", "places"),
    ]
    for told in (
        "The step &#x27;late&#x27; failed. Step &#x27;late&#x27; failed: it was late",
        "Blessed. auc is 0.73.",
        "Version 00000007 was pushed to /serving/00000007.",
        f"{COMMIT[:12]}, files changed since",
        "fast xgboost 0.7300 [0.7200, 0.7400] 0.3000 [0.2900, 0.3100] ✓ passed ★ chosen",
        "deep keras 0.7300 [0.7200, 0.7400] 0.3000 [0.2900, 0.3100] ✗ failed",
        "auc (more is better) 0.7300 [0.7200, 0.7400] 0.7100 [0.7000, 0.7200]",
        "EWR 700 0.7500 [0.7400, 0.7600]",
        "origin x wind rows",
        "test: auc by wind 0.2500 [0.2400, 0.2600] EWR: 0.7500 (empty): 0.5000 2 compared, 1 too small",
        "6 of 100 rows of &#x27;test&#x27; are explained.",
        "f1 0.5000 -0.1000 push up (+0.90)",
        "1 of 2 columns are kept",
        "no importance on held-out rows",
        "Trial 1 is the best: logloss 0.41000 on eval.",
        "ingest ingest = reused from run-0",
        "Earlier attempts",
        "10 read = 1 rejected + 9 kept",
        "&quot;name&quot;: &quot;flights&quot;",
    ):
        assert told in seen


def test_a_run_that_failed_at_once_shows_what_there_is(tmp_path: Path) -> None:
    text = page.text(gather(failed_run(tmp_path), RUN))
    assert sections(Reader(text)) == ["outcome", "steps"]
    assert "The step &#x27;ingest&#x27; failed. There is no file." in words(text)


def test_a_run_judged_before_there_were_candidates_or_gaps(whole: dict[str, Any]) -> None:
    evaluation = {key: value for key, value in whole["evaluation"].items() if key not in ("candidates", "notes")}
    evaluation["splits"] = {
        name: {key: split[key] for key in ("overall", "slices")} for name, split in evaluation["splits"].items()
    }
    found = sections(Reader(page.text({**whole, "evaluation": evaluation})))
    assert not {"candidates", "fairness"} & set(found)
    assert {"metrics", "slices"} <= set(found)


def test_every_link_leads_to_a_part_of_the_page(whole: dict[str, Any]) -> None:
    reader = Reader(page.text(whole))
    links = [str(found["href"]) for name, found in reader.tags if name == "a"]
    assert links == [f"#{name}" for name in sections(reader)]


def test_one_metric_and_split_is_shown_at_first(whole: dict[str, Any]) -> None:
    reader = Reader(page.text(whole))
    cuts = {found["data-cut"]: "hidden" in found for _, found in reader.tags if "data-cut" in found}
    assert len(cuts) == 14
    assert [cut for cut, hidden in cuts.items() if not hidden] == ["test auc"]
    options = [(found["value"], "selected" in found) for name, found in reader.tags if name == "option"]
    assert options[:3] == [("eval", False), ("test", True), ("auc", False)]


def test_it_needs_nothing_but_itself(whole: dict[str, Any]) -> None:
    reader = Reader(page.text(whole))
    assert not [name for name, found in reader.tags if {"src", "srcset", "action", "style"} & found.keys()]
    code = [text for found, text in reader.of("script") if "id" not in found] + [text for _, text in reader.of("style")]
    addresses = {address for text in code for address in re.findall(r"\w+://[^\s\"'`]+|url\([^)]*\)", text)}
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_only_its_own_script_and_style_may_run(whole: dict[str, Any]) -> None:
    reader = Reader(page.text(whole))
    (policy,) = (str(found["content"]) for found, _ in reader.of("meta") if "http-equiv" in found)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    ((_, script),) = ((found, text) for found, text in reader.of("script") if "id" not in found)
    ((_, style),) = reader.of("style")
    for text, rule in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_no_text_of_the_run_becomes_markup(tmp_path: Path, whole: dict[str, Any]) -> None:
    found = gather(whole_run(tmp_path, Texts(TEXT, TEXT, TEXT, TEXT)), RUN)
    text = page.text(found)
    hostile, calm = Reader(text), Reader(page.text(whole))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in calm.tags]
    assert [sorted(found) for _, found in hostile.tags] == [sorted(found) for _, found in calm.tags]
    assert text.count("<script") == text.count("</script>") == 2
    assert "<!--" not in text
    assert TEXT in hostile.data["features"]
    assert any(TEXT in shown for shown in hostile.texts)  # whole, as text


def test_control_characters_are_left_out(whole: dict[str, Any]) -> None:
    text = page.text({**whole, "warnings": ["a\x00b\x1b[31mc"]})
    assert "<li>ab[31mc</li>" in text


def test_its_parts_are_installed_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **settings: given.update(settings))
    folder = Path(page.__file__).parent
    runpy.run_path(str(folder.parents[1] / "setup.py"))
    parts = {path.name for path in folder.iterdir() if path.suffix in (".html", ".css", ".js")}
    patterns = given["package_data"]["pipeline.report"]
    assert parts == {path.name for pattern in patterns for path in folder.glob(pattern)} != set()


def run_script(data: Any, program: str) -> Any:
    """What the page's own functions answer, run by Node."""
    script = (Path(page.__file__).parent / "page.js").read_text()
    reading = 'const data = JSON.parse(require("fs").readFileSync(0, "utf8"));'
    asked = f"{script}\n{reading}\nprocess.stdout.write(JSON.stringify({program}));"
    done = subprocess.run([str(NODE), "-e", asked], input=json.dumps(data), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_waterfall_goes_from_the_bias_to_the_margin_the_largest_first(tmp_path: Path) -> None:
    write_explanations(tmp_path / "e", Texts(), rows=5, task="multiclass", features=50)
    rows = explained_rows.read(str(tmp_path / "e"), Summary.load(str(tmp_path / "e")))
    for place, output in ((0, 0), (4, 2)):
        found = run_script(rows, f"waterfall(data, {place}, {output})")
        every = rows["contributions"][place][output]
        bars = found["bars"]
        assert found["margin"] == pytest.approx(rows["bias"][place][output] + sum(every))
        assert [bar["start"] for bar in bars] == pytest.approx([found["bias"]["end"], *(b["end"] for b in bars[:-1])])
        sizes = [abs(bar["contribution"]) for bar in bars[:-1]]
        assert sizes == sorted(sizes, reverse=True)
        assert bars[-1]["name"] == "10 other features"


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_rows_come_in_the_order_asked_for(whole: dict[str, Any]) -> None:
    rows = whole["explanations"]["rows"]
    assert rows["error"] == [
        pytest.approx(e, abs=1e-3) if e is not None else None for e in (0.9, 0.2, None, 0.6, 0.5, None)
    ]
    assert run_script(rows, 'ordered(data, "error", 0)') == [0, 3, 4, 1, 2, 5]
    assert run_script(rows, 'ordered(data, "high", 0)') == [5, 4, 3, 2, 1, 0]
    assert run_script(rows, 'ordered(data, "low", 0)') == [0, 1, 2, 3, 4, 5]
    assert run_script(rows, 'ordered(data, "id", 0)') == [0, 1, 2, 3, 4, 5]
    assert (
        run_script(rows, 'verdict(data, 2, 0, "binary")')
        == "Predicted a probability of 0.3 for True; the label is not known."
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_explains_the_worst_predicted_row(tmp_path: Path, whole: dict[str, Any]) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.text(whole))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom")
    done = subprocess.run(
        [str(CHROMIUM), *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    drawn = words(done.stdout)
    assert "_row 1099511627776. Predicted a probability of 0.1 for True; the label is True." in drawn
    assert "bias −0.5 wind missing −2 f1 0 −1 f2 0 −0.6667 margin −4.1667" in drawn
    assert drawn.count("1099511627776: 0.1, label True") == 1
    assert "Refused to" not in done.stderr  # its own policy stops nothing of it
