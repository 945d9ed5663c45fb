"""Twenty workers killed at random moments: nothing finished lost or counted twice, and the rest done again."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from glora_lab.search.known import SETTING
from tests.search.campaign import Campaign, check, run
from tests.search.postgres import Server


def campaign(storage: str, *, timely: bool) -> Campaign:
    made = run(storage, kills=20, trials=60, grace=1.0, seconds=0.1)
    print(check(made, timely=timely))
    assert len(made.killed) == 20
    return made


def test_twenty_kills_with_a_journal(tmp_path: Path) -> None:
    campaign(str(tmp_path / "search.journal"), timely=True)


def test_twenty_kills_with_postgresql(postgres: Server) -> None:
    campaign(postgres.url(), timely=False)


def test_a_campaign_that_loses_a_trial_is_seen(tmp_path: Path) -> None:
    made = run(str(tmp_path / "search.journal"), kills=0, trials=8, grace=1.0, seconds=0.0)
    check(made)
    made.seen[100] = ("0.0.0.0.0.1", 0.5)
    with pytest.raises(AssertionError, match="a finished trial is lost"):
        check(made)


@pytest.mark.parametrize("begun", [True, False])
def test_a_choice_that_was_killed_and_not_done_again_is_seen(tmp_path: Path, begun: bool) -> None:
    made = run(str(tmp_path / "search.journal"), kills=0, trials=8, grace=1.0, seconds=0.0)
    assert made.begun == {
        trial.user_attrs[SETTING]["choice"] for trial in made.stored if trial.state.name == "COMPLETE"
    }
    lost = create_trial(state=TrialState.FAIL, user_attrs={SETTING: {"choice": "9.9", "worker": "here 1 a"}})
    made.stored, made.killed = (*made.stored, lost), {1: 0.0}
    made.begun |= {"9.9"} if begun else set()
    with pytest.raises(AssertionError, match=r"9\.9 was killed and never finished") if begun else nullcontext():
        check(made)
