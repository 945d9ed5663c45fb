"""Who has a place in a study: a choice that was begun and lost keeps its place, one that came in vain never had any."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from glora_lab.search.storage import Storage
from glora_lab.search.stored import Claim, StoredTrials


@pytest.fixture
def two(tmp_path: Path) -> tuple[StoredTrials, StoredTrials]:
    """Two workers of one study that wants two trials."""
    file = str(tmp_path / "study.journal")
    backend = optuna.storages.journal.JournalFileBackend(file)
    optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="places")
    return tuple(StoredTrials(Storage(file, patience=1.0), 0, most=2, grace=60.0) for _ in range(2))  # type: ignore[return-value]


def claimed(worker: StoredTrials, choice: str) -> Claim:
    claim = worker.claim(choice)
    assert isinstance(claim, Claim), f"no place for {choice}"
    return claim


def test_a_choice_that_was_lost_keeps_its_place(two: tuple[StoredTrials, StoredTrials]) -> None:
    one, other = two
    first, lost = claimed(one, "first"), claimed(one, "lost")
    assert one.finish(first, {}, [0.5])
    one.give_back(lost)
    other.news()
    assert (other.finished, other.running, other.waiting) == (1, 0, 1)
    assert isinstance(other.claim("new"), int)
    other.news()
    again = other.retry()
    assert again is not None and (again.choice, again.attempt) == ("lost", 2) and other.waiting == 0


def test_a_choice_that_came_in_vain_does_not_take_the_place_of_one_that_was_lost(
    two: tuple[StoredTrials, StoredTrials],
) -> None:
    one, other = two
    first, lost = claimed(one, "first"), claimed(one, "lost")
    assert [isinstance(other.claim(name), int) for name in ("vain", "vain too")] == [True, True]
    assert one.finish(first, {}, [0.5])
    one.give_back(lost)
    other.news()
    assert other.waiting == 1
    again = other.retry()
    assert again is not None and again.choice == "lost"


def test_a_choice_that_came_in_vain_can_be_chosen_later(two: tuple[StoredTrials, StoredTrials]) -> None:
    one, other = two
    for name in ("first", "second"):
        assert one.finish(claimed(one, name), {}, [0.5])
    assert isinstance(other.claim("vain"), int)
    other.most = 3
    assert claimed(other, "vain").attempt == 1
