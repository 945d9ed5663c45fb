"""A search in a database: as in memory, away for a moment, away for good, and a password that is nowhere."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from glora_lab import follow_study
from tests.search.fake_search import counted
from tests.search.postgres import PASSWORD, Server

SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "hun/ter2", "hun%2Fter2")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_database_changes_nothing_in_what_is_found(postgres: Server) -> None:
    url = postgres.url()
    memory, study = counted(trials=12), counted(url, trials=12)
    made = [list(memory), list(study), follow_study(url).trials]
    found = [[(t.number, t.choice, t.metric, t.loss) for t in trials] for trials in made]
    assert found[0] == found[1] == found[2] and len(found[0]) == 12
    again = counted(url, trials=14)
    assert [trial.number for trial in again] == [12, 13]
    with pytest.raises(ValueError, match=r"differs in steps \(100 there, 7 here\)"):
        counted(url, steps=7)


def test_workers_that_start_together_make_the_tables_together(postgres: Server) -> None:
    url, made = postgres.url(), []
    threads = [threading.Thread(target=lambda: made.append(counted(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4 and len({study._shared.study_id for study in made}) == 1


def test_a_database_that_is_away_for_a_moment_is_waited_for(postgres: Server) -> None:
    study = counted(postgres.url(), trials=6, grace=30)
    next(iter(study))
    postgres.stop()
    back = threading.Timer(1.0, postgres.start)
    back.start()
    try:
        assert len(list(study)) == 5 and len(study.trials) == 6
    finally:
        back.join()


def test_the_password_is_nowhere(
    postgres: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    url = postgres.url()
    study = counted(url, trials=3, grace=0.5)
    list(study)
    said = [repr(study), repr(study._stored.storage), study.storage, repr(study.result), repr(follow_study(url))]
    wrong = {
        "password": postgres.url(password="hun/ter2"),
        "nowhere": postgres.url(database="nowhere"),
        "refused": url.replace(str(postgres.port), "1"),
    }
    for word, bad in wrong.items():
        for what in (counted, follow_study):
            started = time.monotonic()
            with pytest.raises(ConnectionError, match=word) as caught:
                what(bad)
            assert len(list(chain(caught.value))) == 1 and time.monotonic() - started < 60
            said += ["".join(traceback.format_exception(caught.value))]
    with pytest.raises(ImportError, match=r"needs a driver, .*: pip install 'psycopg\[binary\]'") as none:
        counted(url.replace("+psycopg", "+psycopg2"))
    said += ["".join(traceback.format_exception(none.value))]
    postgres.stop()
    try:
        with pytest.raises(ConnectionError, match=r"searcher:\*\*\*@127\.0\.0\.1:\d+/\w+ does not answer") as away:
            study.refresh()
        said += ["".join(traceback.format_exception(away.value)), *map(repr, chain(away.value))]
        assert len(list(chain(away.value))) == 1
    finally:
        postgres.start()
    said += [caplog.text, *capfd.readouterr()]
    for secret in SECRETS:
        assert not [text for text in said if secret in text]
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute("select value_json from study_user_attributes").fetchall()
        rows += connection.execute("select value_json from trial_user_attributes").fetchall()
    assert len(rows) > 6 and not [row for row in rows if any(secret in row[0] for secret in SECRETS)]
