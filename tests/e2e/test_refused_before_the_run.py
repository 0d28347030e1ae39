"""Mistakes that are told before any step runs: in the files, the configuration and the queries."""

import gzip
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sales_project import HEADER, SALES, TIME_SPLIT, Braid, Project

LABEL = "  label: late"
SPLIT = f"  split: {TIME_SPLIT}"
PATH = "{path: sales.csv}"

Case = Callable[[Project], None]


def config(*changes: tuple[str, str], more: str = "") -> Case:
    return lambda project: project.configure(*changes, more=more)


def table(content: str | bytes, name: str = "sales.csv") -> Case:
    def write(project: Project) -> None:
        project.configure(("path: sales.csv", f"path: {name}"))
        project.write(name, content)

    return write


def no_such_file(project: Project) -> None:
    (project.folder / "sales.csv").rename(project.folder / "sale.csv")


def empty_directory(project: Project) -> None:
    project.configure(("path: sales.csv", "path: data/"))
    (project.folder / "data").mkdir()


def directory_without_a_match(project: Project) -> None:
    project.configure(("path: sales.csv", "path: data/*.csv"))
    project.write("data/notes.md", "none")


def truncated_parquet(project: Project) -> None:
    whole = project.folder / "whole"
    pq.write_table(pa.table({"id": range(1000)}), whole)
    table(whole.read_bytes()[:2000], "sales.parquet")(project)


def two_in_a_zip(project: Project) -> None:
    project.configure(("path: sales.csv", "path: sales.zip"))
    with zipfile.ZipFile(project.folder / "sales.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, SALES)


FILES: dict[str, tuple[Case, str, str]] = {
    "no such file": (
        no_such_file,
        "sales.csv' does not exist. Did you mean 'sale.csv'?",
        "holds: sale.csv, sales.yaml",
    ),
    "empty file": (table(""), "sales.csv' is empty.", "Put data there"),
    "blank file": (table("\n\n \n"), "sales.csv' is empty.", "Put data there"),
    "column names alone": (table(HEADER + "\n"), "no readable row", "Put data there"),
    "empty directory": (empty_directory, "data' holds no data file", "Put the table's files there"),
    "directory without a match": (directory_without_a_match, "data/*.csv' matches no file", "holds: notes.md"),
    "truncated Parquet": (truncated_parquet, "is not a whole Parquet file", "cut short"),
    "empty Parquet": (table("", "sales.parquet"), "is not a whole Parquet file", "cut short"),
    "CSV called Parquet": (table(SALES, "sales.parquet"), "is not a whole Parquet file", "cut short"),
    "truncated gzip": (table(gzip.compress(SALES.encode())[:9000], "sales.csv.gz"), "is not sound gzip", "cut short"),
    "CSV called gzip": (table(SALES, "sales.csv.gz"), "is not sound gzip", "fetch it again"),
    "two files in a zip": (two_in_a_zip, "holds 2 files (a.csv, b.csv)", "Unpack it"),
    "UTF-16": (table(SALES.encode("utf-16")), "is UTF-16 text", "iconv"),
    "broken encoding in the header": (table(HEADER.replace("shop", "shöp").encode("latin-1")), "byte 0xf6", "iconv"),
    "a column twice": (table(SALES.replace("shop", "kind", 1)), "has 2 columns called 'kind'", "its own name"),
    "another delimiter": (table(SALES.replace(",", ";")), "a single column", "set `delimiter: ';'`"),
}

YAML: dict[str, tuple[Case, str, str]] = {
    "unknown key": (
        config(("rounds", "banana")),
        "sales.yaml:22: unknown key 'banana' in 'train'.",
        "configuration.md",
    ),
    "misspelt key": (config(("rounds", "round")), "unknown key 'round' in 'train'. Did you mean 'rounds'?", ""),
    "misspelt section": (
        config(("select:", "selct:")),
        "sales.yaml:18: unknown key 'selct' at the top level. Did you",
        "",
    ),
    "misspelt key of a split": (config(("eval_from", "eval_form")), "Did you mean 'eval_from'?", ""),
    "text for a number": (
        config(("10", "many")),
        "sales.yaml:22: 'train.rounds' must be a whole number; found 'many'",
        "",
    ),
    "too small a number": (config(("10", "-3")), "'train.rounds' must be at least 1; found -3", ""),
    "text for a list": (config(("[id, day]", "id")), "'select.exclude' must be a list, such as [a, b]; found 'id'", ""),
    "text for settings": (config((f"\n  sales: {PATH}", " x.csv")), "sales.yaml:3: 'sources' must be a group of", ""),
    "an empty section": (
        config(("\n  rounds: 10", "")),
        "sales.yaml:21: 'train' must be a group of",
        "or leave the key out",
    ),
    "a missing key": (config((LABEL + "\n", "")), "sales.yaml:13: the key 'examples.label' is missing.", ""),
    "a choice that is none": (
        config((LABEL, LABEL + "\n  task: guess")),
        "'examples.task' must be 'auto', 'binary'",
        "",
    ),
    "a kind of split that is none": (config(("by: time", "by: tine")), "'tine'. Did you mean 'time'?", ""),
    "no date": (config(("2024-07-01", "July")), "'July' is not an ISO 8601 date", "Write 2013-11-01"),
    "dates in the wrong order": (config(("2024-07-01", "2024-10-01")), "is not before its test_from", ""),
    "a tab": (config((LABEL, "\tlabel: late")), "sales.yaml:15: this is not valid YAML", "indentation"),
    "an open bracket": (config(("day]", "day")), "this is not valid YAML", "indentation"),
    "a key twice": (
        config(more="  rounds: 30\n"),
        "sales.yaml:23: the key 'rounds' stands on line 22 already.",
        "Keep one",
    ),
    "no settings": (
        lambda project: project.write("sales.yaml", "") and None,
        "sales.yaml: the file holds no settings",
        "",
    ),
    "no text": (lambda p: p.write("sales.yaml", bytes(range(256))) and None, "not a YAML text file", "UTF-8"),
    "a type that is none": (
        config((PATH, "{path: sales.csv, types: {amount: flot}}")),
        "sales.yaml:4: source 'sales': Column 'amount' is declared as 'flot', which is no type. Did you mean 'float'?",
        "Types are:",
    ),
    "a type for no column": (
        config((PATH, "{path: sales.csv, types: {amont: float}}")),
        "'amont', which",
        "Its columns are: id, day",
    ),
    "a label that is no column": (
        config((LABEL, "  label: lte")),
        "sales.yaml:15: 'examples.label' names 'lte', but the examples have no such column. Did you mean 'late'?",
        "Columns of the examples: id, day",
    ),
    "a split by no column": (config(("column: day", "column: dya")), "names 'dya'", "Columns of the examples"),
    "a time split by text": (config(("column: day", "column: shop")), "needs a date or a timestamp", "CAST"),
    "shares that are not 1": (
        config((SPLIT, "  split: {by: hash, columns: [id], shares: {train: 0.8, eval: 0.1}}")),
        "shares sum to 0.9",
        "",
    ),
    "no feature left": (
        config(("[id, day]", "[id, day, amount, shop, kind]")),
        "No column of the examples is left",
        "",
    ),
}


def select(expressions: str, source: str = "sales") -> Case:
    columns = "SELECT id, day, amount, shop, kind, late = 1 AS late"
    return config((columns, f"SELECT {expressions}"), ("FROM sales", f"FROM {source}"))


def late(condition: str) -> Case:
    return select(f"id, day, amount, {condition} AS late")


def after(tail: str) -> Case:
    return select("*", "sales " + tail)


SQL: dict[str, tuple[Case, str, str]] = {
    "unknown column": (
        select("amunt"),
        "step 'orders': There is no column 'amunt' (line 1). Did you mean 'amount'?",
        "has: id",
    ),
    "unknown table": (
        select("*", "sale"),
        "There is no table 'sale' (line 2). Did you mean 'sales'?",
        "may read: sales",
    ),
    "syntax": (
        config(("FROM sales", "FORM sales")),
        "sales.yaml:9: step 'orders': The query has a syntax error",
        "DuckDB",
    ),
    "types that do not fit": (select("amount + shop AS x"), "'+(DOUBLE, VARCHAR)'", "Mend the query"),
    "a column twice": (select("amount, amount"), "two columns named 'amount'", "with AS"),
    "a column without a type": (select("NULL AS x, day, late"), "Column 'x' of the query's output", "CAST"),
    "aggregate": (
        select("shop, sum(amount)", "sales GROUP BY shop"),
        "aggregate 'sum' (line 1) needs more",
        "partition_by",
    ),
    "window": (late("lag(late) OVER (ORDER BY day) = 1"), "window function 'lag' (line 1)", "partition_by"),
    "distinct": (select("DISTINCT *"), "DISTINCT (line 1) needs more of 'sales'", "partition_by"),
    "order": (after("ORDER BY amount"), "ORDER BY (line 2) is not possible", "Leave it out"),
    "limit": (after("LIMIT 10"), "LIMIT or OFFSET (line 2) is not possible", "Leave it out"),
    "file as a table": (
        select("*", "sales JOIN '/etc/passwd' p ON true"),
        "There is no table '/etc/passwd'",
        "declaring",
    ),
    "file by a table function": (
        select("*", "sales, read_csv('/etc/passwd')"),
        "may not call the table function 'read_csv'",
        "",
    ),
    "file in a subquery": (
        late("(SELECT max(content) FROM read_text('/etc/passwd')) IS NULL"),
        "may not call the table function 'read_text'",
        "Declare the file as a table",
    ),
    "random": (
        late("random() < 0.5"),
        "calls 'random' (line 1), whose answer changes from call to call",
        "hash(column)",
    ),
    "now": (late("day < now()"), "calls 'now' (line 1)", "literal"),
    "another statement": (after("; DROP TABLE sales"), "one SELECT statement and nothing else", "only reads"),
    "attach": (config(("SELECT id, day", "ATTACH 'x.db'; SELECT id, day")), "one SELECT statement", "only reads"),
}


def told_by_run_and_check(case: tuple[Case, str, str], project: Project, braid: Braid) -> None:
    prepare, said, hint = case
    prepare(project)
    ran = braid()
    checked = braid("check", "sales.yaml", "--workspace", "ws")
    assert (ran.code, checked.code) == (1, 1)
    assert ran.err == checked.err
    assert ran.err.startswith("Error: ")
    assert said in ran.err and hint in ran.err
    assert "Traceback" not in ran.err
    assert not (project.workspace / "metadata.sqlite").exists()


@pytest.mark.parametrize("case", FILES.values(), ids=FILES.keys())
def test_files(case: tuple[Case, str, str], project: Project, braid: Braid) -> None:
    told_by_run_and_check(case, project, braid)


@pytest.mark.parametrize("case", YAML.values(), ids=YAML.keys())
def test_configuration(case: tuple[Case, str, str], project: Project, braid: Braid) -> None:
    told_by_run_and_check(case, project, braid)


@pytest.mark.parametrize("case", SQL.values(), ids=SQL.keys())
def test_queries(case: tuple[Case, str, str], project: Project, braid: Braid) -> None:
    told_by_run_and_check(case, project, braid)


def test_no_such_configuration(project: Project, braid: Braid) -> None:
    outcome = braid("run", "sails.yaml")
    assert outcome.code == 1
    assert "There is no configuration file 'sails.yaml'" in outcome.err


def test_unknown_command_and_unknown_option_exit_with_2(braid: Braid) -> None:
    command, option = braid("rnu"), braid("run", "sales.yaml", "--wrkspace", "x")
    assert (command.code, option.code) == (2, 2)
    assert "There is no command 'rnu'. Did you mean 'run'?" in command.err
    assert "--wrkspace" in option.err


def test_debug_shows_where(project: Project, braid: Braid) -> None:
    table("")(project)
    with pytest.raises(Exception, match="is empty"):
        braid("run", "sales.yaml", "--debug")


def test_workspace_that_is_a_file(project: Project, braid: Braid) -> None:
    project.write("ws", "in the way")
    outcome = braid()
    assert outcome.code == 1
    assert "cannot be written: a file of that name is in the way" in outcome.err


def test_control_characters_of_a_file_do_not_reach_the_terminal(project: Project, braid: Braid) -> None:
    table("a,b\x1b[31m,b\x1b[31m\n1,2,3\n")(project)
    assert "\\x1b[31m" in braid().err
