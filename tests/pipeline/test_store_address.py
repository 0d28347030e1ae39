"""Addresses of metadata stores: what they may look like, and that a password is never shown."""

import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.errors import BraidError
from pipeline.errors import RunError
from pipeline.store_address import StoreAddress

SECRET = "s3cr3t"
NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'\"`\\;/"), min_size=1)


def parse(text: str, **environment: str) -> StoreAddress:
    return StoreAddress.parse(text, environment)


def refused(text: str) -> str:
    with pytest.raises(RunError) as caught:
        parse(text)
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["ws/metadata.sqlite", "sqlite:///ws/metadata.sqlite", "./ws/../ws/metadata.sqlite"])
def test_a_file(text: str) -> None:
    found = parse(text)
    assert (found.kind, found.path) == ("sqlite", os.path.abspath("ws/metadata.sqlite"))
    assert str(found) == found.path
    assert not found.is_server


def test_a_file_by_its_absolute_path() -> None:
    assert parse("sqlite:////srv/store.sqlite").path == parse("/srv/store.sqlite").path == "/srv/store.sqlite"
    assert parse("~/store.sqlite").path == os.path.expanduser("~/store.sqlite")
    assert parse("odd ?#%20:name").path == os.path.abspath("odd ?#%20:name")


def test_a_server() -> None:
    found = parse("postgresql://ann:s3cr3t@db.example:6543/braid?sslmode=disable")
    assert found == StoreAddress(
        "postgresql", user="ann", host="db.example", port=6543, database="braid", sslmode="disable", password=SECRET
    )
    assert str(found) == "postgresql://ann@db.example:6543/braid?sslmode=disable"
    assert found.is_server


@pytest.mark.parametrize(
    ("text", "kind", "port"),
    [
        ("postgres://ann@db/braid", "postgresql", 5432),
        ("POSTGRESQL://ann@db/braid", "postgresql", 5432),
        ("mysql://ann@db/braid", "mysql", 3306),
        ("mariadb://ann@db/braid", "mysql", 3306),
    ],
)
def test_names_and_ports_by_default(text: str, kind: str, port: int) -> None:
    assert (parse(text).kind, parse(text).port) == (kind, port)


def test_sockets_and_version_6() -> None:
    assert str(parse("mysql://ann@/braid?socket=/run/my.sock")) == "mysql://ann@/braid?socket=/run/my.sock"
    assert parse("postgresql://ann@/braid?host=/run/pg").socket == "/run/pg"
    assert str(parse("mysql://ann@[::1]/braid")) == "mysql://ann@[::1]:3306/braid"


@pytest.mark.parametrize(
    ("text", "environment", "password"),
    [
        ("mysql://ann@db/braid", {"MYSQL_PWD": "a"}, "a"),
        ("mysql://ann@db/braid", {"PGPASSWORD": "a"}, ""),
        ("postgresql://ann@db/braid", {"PGPASSWORD": "a", "BRAID_STORE_PASSWORD": "b"}, "b"),
        ("postgresql://ann@db/braid", {"BRAID_STORE_PASSWORD": "", "PGPASSWORD": "a"}, "a"),
        ("postgresql://ann:p%40%2F%3A%25@db/braid", {"PGPASSWORD": "a"}, "p@/:%"),
        ("postgresql://ann:p@ss@db/braid", {}, "p@ss"),
    ],
)
def test_where_the_password_comes_from(text: str, environment: dict[str, str], password: str) -> None:
    assert parse(text, **environment).password == password


@given(user=NAMES, host=st.sampled_from(["db", "::1", "db.example"]), database=NAMES, password=st.text())
def test_an_address_reads_back(user: str, host: str, database: str, password: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    address = parse(f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{shown}/{quote(database, safe='')}")
    assert (address.user, address.host, address.database, address.password) == (user, host, database, password)
    assert parse(str(address), MYSQL_PWD=password) == address
    assert address.without_password() == parse(str(address))


def test_the_password_is_never_shown() -> None:
    address = parse(f"postgresql://ann:{SECRET}@db/braid")
    for shown in (str(address), repr(address), f"{address}", address.place, repr(address.without_password())):
        assert SECRET not in shown


def test_the_same_store_for_whoever_asks() -> None:
    one, other = parse(f"postgresql://ann:{SECRET}@db/braid?sslmode=disable"), parse("postgres://bob@db:5432/braid")
    assert one.place == other.place != parse("postgres://bob@db:5433/braid").place


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("postgrse://ann@db/braid", "Did you mean 'postgres'?"),
        ("mysql+pymysql://ann@db/braid", "Did you mean 'mysql'?"),
        ("gs://bucket/metadata.sqlite", "No metadata store can be at 'gs://...'"),
        ("postgresql:ann@db/braid", "has '//' behind 'postgresql:'"),
        ("sqlite://", "names no file"),
        ("sqlite://metadata.sqlite", "three slashes"),
        ("postgresql://db/braid", "names no user"),
        ("postgresql://ann@db", "must end in the name of one database"),
        ("postgresql://ann@db/a/b", "must end in the name of one database"),
        ("mysql://ann@/braid", "either a host or a socket"),
        ("mysql://ann@db/braid?socket=/run/my.sock", "either a host or a socket"),
        ("mysql://ann@db:port/braid", "port"),
        ("mysql://ann@db:70000/braid", "port"),
        ("mysql://ann@db/it's", "database in the store's address holds a space, a quote"),
        ("postgresql://an%20n@db/braid", "user in the store's address holds a space, a quote"),
        ("postgresql://ann@db/braid?sslmod=disable", "takes no 'sslmod'. Did you mean 'sslmode'?"),
        ("postgresql://ann@db/braid?sslmode=disabled", "'disabled'. Did you mean 'disable'?"),
    ],
)
def test_what_is_no_address(text: str, told: str) -> None:
    assert told in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        f"postgrse://ann:{SECRET}@db/braid",
        f"postgresql://ann:{SECRET}@db",
        f"postgresql://ann:{SECRET}/x@db/braid",
        f"postgresql://ann:1/{SECRET}@db/braid",
        f"postgresql://ann:1?{SECRET}@db/braid",
        f"postgresql://ann:x@y?{SECRET}@db/braid",
        f"postgresql://ann:1#{SECRET}@db/braid",
        f"postgresql://ann:{SECRET}#x@db/braid",
        f"postgresql://ann:{SECRET}@db:port/braid",
        f"postgresql://ann:{SECRET}@db/braid?{SECRET}@x",
    ],
)
def test_a_wrong_address_shows_no_password(text: str) -> None:
    with pytest.raises(BraidError) as caught:
        parse(text)
    assert SECRET not in str(caught.value) + caught.value.hint
