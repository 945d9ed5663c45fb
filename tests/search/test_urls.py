"""A URL that cannot be used is refused without being repeated."""

from __future__ import annotations

import pytest

from glora_lab.search.storage import Storage, _without_secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se@cret@host/db",
        "postgresql://u:se/cret@host/db",
        "postgresql://u:secr:et@host:port/db",
        "postgresql://u:sec#ret@host/db",
        "postgresql://u:sec?ret@host/db",
        "postgresql://u:secr[et@host/db",
        "redis://u:secret@host/0",
        "postgresql+nope://u:secret@host/db",
        "nope://u:secret@host",
    ],
)
def test_what_is_no_url_of_a_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((ValueError, ConnectionError), match="`storage`") as caught:
        Storage(url, read_only=True)
    says = str(caught.value)
    assert "secret" not in says and "cret" not in says.replace("***", "") and "ret@" not in says
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_what_may_be_said_of_a_url() -> None:
    name, secrets = _without_secrets("postgresql+psycopg://me:a%40b@host:5432/db?sslpassword=key&sslmode=require")
    assert name == "postgresql+psycopg://me:***@host:5432/db" and set(secrets) == {"a%40b", "a@b", "key"}
    assert _without_secrets("sqlite:////tmp/my.db") == ("sqlite:////tmp/my.db", [])
    assert _without_secrets("postgresql://host/db")[0] == "postgresql://host/db"


def test_an_sqlite_file_serves_one_machine_as_well(tmp_path: object) -> None:
    from tests.search.fake_search import counted

    url = f"sqlite:///{tmp_path}/search.db"
    assert len(list(counted(url, trials=4))) == 4 and len(list(counted(url, trials=6))) == 2
