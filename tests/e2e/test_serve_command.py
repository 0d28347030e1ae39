"""`braid serve`, as a program would ask it: the real command on a free port, real requests."""

import json
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sales_project import SALES, Project
from served_model import Served, serving

from components.scoring import load_scorer
from pipeline.cli.main import main

SHOPS = "shop,region,opened\nnorth,1,2019-03-01\nsouth,2,2020-07-15\neast,1,2018-01-01\nwest,3,2021-11-30\n"
QUERIES = """\
prepare:
  sizes:
    stream: sales
    partition_by: [shop]
    sql: SELECT shop, avg(amount) AS usual FROM sales GROUP BY shop
  orders:
    stream: sales
    sql: |
      SELECT s.id, s.day, s.amount, s.kind, s.shop, month(s.day) AS month, h.region, h.opened,
             s.amount / z.usual AS ratio, s.late = 1 AS late
      FROM sales s JOIN shops h USING (shop) LEFT JOIN sizes z USING (shop)
      WHERE s.amount > 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A pipeline that joins its rows with a side table and with what was made of all rows; 2,000 of them were scored."""
    folder = tmp_path_factory.mktemp("served")
    made = Project(folder)
    orders = "prepare:\n  orders:\n    stream: sales\n    sql: |\n      SELECT id, day, amount, shop, kind, late = 1 AS late\n      FROM sales\n"
    made.configure(
        ("sources:\n", "sources:\n  shops: {path: shops.csv}\n"), (orders, QUERIES), ("rounds: 10", "rounds: 30")
    )
    made.write("sales.csv", SALES)
    made.write("shops.csv", SHOPS)
    made.write("new.csv", new_rows())
    before = os.getcwd()
    os.chdir(folder)
    try:
        main(["run", "sales.yaml", "--workspace", "ws"])
        main(["score", "sales", "new.csv", "--to", "out", "--with", "id", "--contributions", "--workspace", "ws"])
    finally:
        os.chdir(before)
    return made


def new_rows() -> str:
    """2,000 rows without a label, some of the values missing."""
    chance = random.Random(11)
    lines = ["id,day,amount,shop,kind"]
    for row in range(2_000):
        day = f"2024-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
        shop, kind = chance.choice(("north", "south", "east", "west")), chance.choice(("a", "b", "c", "", "new"))
        lines.append(f"{row},{day if row % 7 else ''},{round(chance.uniform(2.01, 120), 3)},{shop},{kind}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def served(finished: Project) -> Iterator[Served]:
    with serving(finished, "sales") as server:
        yield server


def sent(project: Project) -> list[dict[str, Any]]:
    """The new rows as a client has them."""
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    rows = pyarrow.csv.read_csv(project.folder / "new.csv", convert_options=options).to_pylist()
    return [{**row, "day": row["day"] and str(row["day"])} for row in rows]


def bulk(project: Project) -> pa.Table:
    return pq.read_table(project.folder / "out").sort_by("id")


def test_raw_rows_are_scored_as_in_bulk_to_the_last_bit(served: Served) -> None:
    rows = sent(served.project)
    assert len({row["kind"] for row in rows}) == 5
    expected = bulk(served.project).column("prediction").to_pylist()
    assert served.predict(rows) == {"predictions": expected}
    alone = [served.predict([row])["predictions"][0] for row in rows[:20]]
    assert alone == expected[:20], "one by one as all at once"
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    code, answer = served.ask("/v1/models/sales/versions/1:predict", {"inputs": columns})
    assert (code, answer) == (200, {"outputs": expected})


def test_contributions_are_those_of_bulk_scoring_and_sum_to_the_margin(served: Served) -> None:
    rows, scored = sent(served.project)[:200], bulk(served.project).slice(0, 200)
    told = served.predict(rows, "explain")["explanations"]
    for number, one in enumerate(told):
        assert one["prediction"] == scored.column("prediction")[number].as_py()
        assert one["bias"] == scored.column("contribution_bias")[number].as_py()
        for feature, adds in one["contributions"].items():
            assert adds == scored.column(f"contribution_{feature}")[number].as_py()
        margin = sum(one["contributions"].values()) + one["bias"]
        assert 1 / (1 + 2.718281828459045**-margin) == pytest.approx(one["prediction"], abs=1e-5)
    assert told[0]["values"]["amount"] == rows[0]["amount"]


def test_rows_with_the_features_need_no_query(served: Served) -> None:
    rows = sent(served.project)[:50]
    features = [one["values"] for one in served.predict(rows, "explain")["explanations"]]
    told = served.predict(features, signature_name="prepared")
    assert told == served.predict(rows)
    model = load_scorer(str(served.project.folder / "ws/sales/serving/current"))
    assert set(features[0]) == set(model.contract.names)


def test_what_the_answers_look_like(served: Served) -> None:
    row = sent(served.project)[0]
    (score,) = served.predict([row])["predictions"]
    assert served.predict([]) == {"predictions": []}
    code, answer = served.ask("/v1/models/sales:classify", {"examples": [row]})
    assert (code, answer) == (200, {"results": [[["false", 1 - score], ["true", score]]]})
    code, answer = served.ask("/v1/models/sales")
    assert (code, answer["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    code, answer = served.ask("/v1/models/sales/metadata")
    assert answer["model_spec"] == {"name": "sales", "signature_name": "", "version": "1"}
    told = answer["metadata"]["braid"]
    assert told["columns"]["serving_default"]["day"] == "date"
    assert "late" not in told["needed"]["serving_default"], "no label is asked for"
    assert "id" not in told["needed"]["serving_default"], "nor what no feature needs"
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["amount"]["dtype"] == "DT_DOUBLE"


def test_the_command_that_is_printed_works(served: Served) -> None:
    curl = next(line for line in served.told if "curl" in line).strip()
    assert served.told[0].startswith("sales@00000001 answers at http://127.0.0.1:")
    answer = subprocess.run(curl.replace("curl ", "curl -s "), shell=True, capture_output=True, text=True, check=True)
    (score,) = json.loads(answer.stdout)["predictions"]
    assert 0 < score < 1


def test_mistakes_are_told_with_row_and_column(served: Served) -> None:
    row = sent(served.project)[0]
    cases: list[tuple[Any, str]] = [
        (
            {"instances": [row, {**row, "amuont": 1}]},
            "instances[1]: there is no column 'amuont'. Did you mean 'amount'?",
        ),
        ({"instances": [row, {**row, "amount": "x"}]}, "instances[1]['amount'] is \"x\"; the column is double."),
        ({"instances": [{**row, "day": "2024-13-01"}]}, "instances[0]['day'] is \"2024-13-01\"; the column is date."),
        ({"instances": [{"amount": 5}]}, "The rows have no column 'shop', which the model's features need."),
        ({"instances": [row, {**row, "amount": 1}, row]}, "Row 1 is left out by the queries of training"),
        ({"instances": [{**row, "shop": "nowhere"}]}, "Row 0 is left out by the queries of training"),
        ({"instances": [row, 7]}, "instances[1] is 7, not an object."),
        ({"instances": row}, "'instances' is no list of rows."),
        ({"instances": [row], "inputs": {}}, "The request has 'instances' and 'inputs'."),
        ({}, "The request has neither of its forms."),
        ([row], "The request is no JSON object."),
        (b'{"instances": [', "The request is not JSON"),
        (b'{"instances": [{"amount": NaN}]}', "NaN is no number of JSON's"),
        (b"[" * 100_000, "The request is not JSON"),
        (b"\xff", "The request is not JSON"),
        ({"instances": [row], "signature_name": "other"}, "There is no signature 'other'."),
        ({"inputs": {"amount": [1, 2], "shop": ["north"]}}, "inputs['shop'] has 1 values, inputs['amount'] has 2."),
    ]
    for body, told in cases:
        assert told in served.refused(body)
    assert "predicts a class, not a number" in served.refused({"instances": [row]}, "regress")


@pytest.mark.parametrize(
    ("path", "method", "code", "told"),
    [
        ("/v1/models/sale", "GET", 404, "There is no model 'sale' here. Did you mean 'sales'?"),
        ("/v1/models/sales/versions/7", "GET", 404, "Version '7' of 'sales' is not served here."),
        ("/v1/models/sales:prdict", "POST", 404, "A model cannot 'prdict'. Did you mean 'predict'?"),
        ("/v1/models/sales:predict", "GET", 405, "takes POST"),
        ("/v1/models/sales", "POST", 405, "takes GET"),
        ("/etc/passwd", "GET", 404, "There is nothing at '/etc/passwd'."),
        ("/v1/models/sales", "DELETE", 501, "Unsupported method"),
    ],
)
def test_places_that_are_none(path: str, method: str, code: int, told: str, served: Served) -> None:
    found, answer = served.ask(path, b"{}" if method == "POST" else None, method)
    assert (found, told in answer["error"]) == (code, True)


def test_only_this_machine_is_answered_and_not_too_much_at_once(served: Served) -> None:
    code, answer = served.ask("/v1/models/sales", headers={"Host": "evil.example"})
    assert (code, "is not this machine" in answer["error"]) == (403, True)
    too_long = {"Content-Length": str(1 << 40)}
    code, answer = served.ask("/v1/models/sales:predict", b"{}", headers=too_long)
    assert (code, "are the most" in answer["error"]) == (413, True)
    with socket.create_connection(("127.0.0.1", served.port), 10) as raw:
        raw.sendall(b"POST /v1/models/sales:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in raw.recv(1000)
    for family, _, _, _, address in socket.getaddrinfo(socket.gethostname(), served.port, type=socket.SOCK_STREAM):
        if address[0].startswith("127.") or family != socket.AF_INET:
            continue
        with pytest.raises(OSError, match="refused"), socket.create_connection(address[:2], 5):
            pass


def test_many_clients_at_once_get_each_their_own_answer(served: Served) -> None:
    rows = sent(served.project)[:80]
    expected, found = bulk(served.project).column("prediction").to_pylist()[:80], dict[int, Any]()

    def ask(number: int) -> None:
        found[number] = served.predict([rows[number]])["predictions"][0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.get(number) for number in range(80)] == expected


def test_a_page_to_try_rows_on(served: Served) -> None:
    code, page = served.ask("/")
    assert (code, "<form" in page) == (200, True)
    assert all(served.ask(path)[0] == 200 for path in ("/try.css", "/try.js"))
    code, known = served.ask("/try.json")
    assert known["example"].keys() <= known["columns"].keys()


def test_a_side_table_that_changed_counts_and_rows_may_be_kept(finished: Project) -> None:
    finished.write("moved.csv", SHOPS.replace("north,1", "north,3"))
    north = {**sent(finished)[0], "shop": "north"}
    with serving(finished, "sales@1", "--source", "shops=moved.csv", "--keep-all-rows") as server:
        (one,) = server.predict([north], "explain")["explanations"]
        assert one["values"].get("region", 3) == 3
        assert len(server.predict([north, {**north, "amount": 1}])["predictions"]) == 2, "training leaves it out"


def stopped(server: Served, number: signal.Signals) -> int:
    server.process.send_signal(number)
    return server.process.wait(30)


def test_ctrl_c_ends_it(finished: Project) -> None:
    with serving(finished, "latest", "--prepared") as server:
        assert server.ask("/v1/models/sales")[0] == 200
        assert stopped(server, signal.SIGINT) == 0


def refusals(project: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["serve", *arguments, "--workspace", str(project.workspace)])
        assert end.value.code == 1
        return capsys.readouterr().err

    return refused


def test_models_and_ports_that_cannot_be_served(finished: Project, capsys: pytest.CaptureFixture[str]) -> None:
    refused = refusals(finished, capsys)
    assert "Did you mean 'sales'?" in refused("sale")
    assert "has no version '9'" in refused("sales@9")
    assert "not joined with a source 'shop'. Did you mean 'shops'?" in refused("sales", "--source", "shop=x.csv")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be served from" in refused("sales", "--port", str(taken.getsockname()[1]))
    served = Path(finished.workspace, "sales/serving/00000001/model.ubj")
    sound = served.read_bytes()
    served.write_bytes(sound[:-1])
    try:
        assert "'model.ubj' was altered" in refused("sales")
    finally:
        served.write_bytes(sound)
