"""Which paths hold a password, and that none of these is opened or repeated."""

import string
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs import storage
from beam_jobs.errors import DataError

schemes = st.sampled_from(["s3", "gs", "hdfs", "https", "postgresql", "x-y.z+1"])
words = st.text(string.ascii_letters + string.digits + "._-", min_size=1)
passwords = st.text(string.ascii_letters + string.digits + "+/=%!$&'()*,;:~._-", min_size=1)
places = st.text(string.printable.strip(), max_size=20)


@given(schemes, words, passwords, words, places)
def test_a_password_is_seen_however_it_is_spelt(scheme: str, user: str, password: str, host: str, place: str) -> None:
    for spelt in (password, urllib.parse.quote(password, safe="")):
        if (spelt.partition("/")[0].isdecimal() and "/" in spelt) or spelt.startswith("/"):
            continue  # no telling it from a port
        path = f"{scheme}://{user}:{spelt}@{host}/{place}"
        assert storage.holds_password(path)
        with pytest.raises(DataError) as caught:
            storage.resolve(path)
        assert str(caught.value) == f"A password stands in the address '{scheme}://...'."


@given(schemes, words, st.none() | st.integers(0, 65535), places)
def test_hosts_ports_and_objects_names_hold_none(scheme: str, host: str, port: int | None, place: str) -> None:
    authority = host if port is None else f"{host}:{port}"
    assert not storage.holds_password(f"{scheme}://{authority}/{place}")
    assert not storage.holds_password(f"{scheme}://{authority}")
    assert storage.resolve(f"{scheme}://{authority}/{place}") == f"{scheme}://{authority}/{place}"


@pytest.mark.parametrize(
    "path",
    [
        "gs://bucket/a:b@c.csv",
        "abfss://container@account.dfs.core.windows.net/a",
        "http://[::1]:8080/a",
        "/folder/a:b@c",
        "file:///a:b@c",
        "package://name/inner",
        "SELECT 'https://ann:secret@host'",
    ],
)
def test_these_hold_none(path: str) -> None:
    assert not storage.holds_password(path)
