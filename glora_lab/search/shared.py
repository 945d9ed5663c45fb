"""A study that several processes have in common: made by the first, joined by others of the same kind, and followed.

What it is of stands in the study itself, see identity.py, and is compared before anything is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from glora_lab.arguments import check_is, check_kind, refuse
from glora_lab.ideas.search.record import Agreement, Trial
from glora_lab.wording import few

from .identity import unlike
from .proposals import OBJECTIVES, quiet
from .space import A_SPACE, SearchSpace
from .storage import Storage
from .stored import StoredTrials
from .view import StudyView
from .written import read_space

ABOUT, AGREEMENT = "search", "agreement"  # what a study holds, by Optuna's name for it
MADE = 2.0  # seconds in which whoever has made a study writes what it is of


class SharedStudy:
    """One study of a storage, by name. `about` is what it is of, as its maker wrote it."""

    def __init__(self, storage: Storage, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise refuse("name", name, "must be a text")
        self.storage, self.name = storage, name
        self.study_id: Any = self._found()  # None: not there

    def join(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make the study where it is not there, and be refused where it is of something else.

        Raises:
            ValueError: naming what differs; nothing has been written then.
        """
        made = self.study_id is None and self._make(about["objectives"])
        there = self.about() or (None if made else self._wait())
        if there is None:
            self._do("set_study_user_attr", ABOUT, dict(about))
            there = about
        if differs := unlike(there["identity"], about["identity"]):
            rule = f"is a study in {self.storage.name} that differs in {differs}: give yours another name"
            raise refuse("name", self.name, rule)
        if there["trials"] < about["trials"]:
            there = {**there, "trials": about["trials"]}
            self._do("set_study_user_attr", ABOUT, there)
        return there

    def about(self) -> Mapping[str, Any] | None:
        about: Mapping[str, Any] | None = self._attributes().get(ABOUT)
        return about

    @property
    def agreement(self) -> Agreement | None:
        """What the gate found, once for all workers."""
        found = self._attributes().get(AGREEMENT)
        if found is None:
            return None
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
        return Agreement(**fields)

    def agree(self, found: Agreement) -> Agreement:
        """Write what the gate found; what another worker has written before stands."""
        before = self.agreement
        if before is None:
            self._do("set_study_user_attr", AGREEMENT, asdict(found))
        return before or found

    def _found(self) -> int | None:
        """The study's number, None where there is no study of that name."""
        inner = self.storage.inner
        try:
            study_id: int = self.storage.do(inner.get_study_id_from_name, self.name)
        except KeyError:
            return None
        return study_id

    def _make(self, objectives: Sequence[str]) -> bool:
        """Whether it was this process that made it."""
        import optuna

        directions = [optuna.study.StudyDirection[OBJECTIVES[name].upper()] for name in objectives]
        try:
            with quiet(optuna):
                self.study_id = self.storage.do(self.storage.inner.create_new_study, directions, self.name)
        except optuna.exceptions.DuplicatedStudyError:
            self.study_id = self._found()
            return False
        return True

    def _wait(self) -> Mapping[str, Any] | None:
        """What somebody who has just made it is about to write; None where nobody does."""
        until = time.monotonic() + MADE
        while (about := self.about()) is None and time.monotonic() < until:
            time.sleep(MADE / 40)
        return about

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = self._do("get_study_user_attrs")
        return attributes

    def _do(self, action: str, *given: Any) -> Any:
        return self.storage.do(getattr(self.storage.inner, action), self.study_id, *given)


class FollowedStudy(StudyView):
    """A search that others run, as it was at the last `refresh`. `engine` is the name of the one that scores."""

    def __init__(self, shared: SharedStudy, space: SearchSpace, about: Mapping[str, Any], stored: StoredTrials) -> None:
        super().__init__(space, stored, about["objectives"], about["settings"]["limit"])
        self._shared, self._engine = shared, about["settings"]["engine"]

    @property
    def engine(self) -> str:
        return self.trials[-1].engine if self._trials else str(self._engine)

    def refresh(self) -> tuple[Trial, ...]:
        about = self._shared.about() or {}
        self.total = about.get("trials", self.total)
        self.agreement = self._shared.agreement
        return super().refresh()


def follow_study(
    storage: str | os.PathLike[str], name: str = "search", *, space: SearchSpace | None = None
) -> FollowedStudy:
    """A search that others run, to look at: nothing is written, and neither model nor task is needed::

        study = follow_study("search.journal")
        study.refresh(); plot_search(study.result)

    Args:
        storage: the file or the URL that the search was given.
        name: the name that it was given.
        space: its space, which it has itself where its method is none of somebody's own.

    Raises:
        ValueError: where there is no such study, or its space has to be given.
        ConnectionError: where a database does not answer.
    """
    check_kind("storage", storage, (str, os.PathLike), "must be the file or the URL that the search was given")
    check_is("space", space, SearchSpace, A_SPACE)
    opened = Storage(storage, read_only=True)
    shared = SharedStudy(opened, name)
    about = None if shared.study_id is None else shared.about()
    if shared.study_id is None or about is None:
        others = [study.study_name for study in opened.do(opened.inner.get_all_studies)]
        raise refuse("name", name, f"must be a study in {opened.name}, which has: {few(others) or 'none'}")
    stored = StoredTrials(opened, shared.study_id, most=about["trials"], grace=about["grace"])
    study = FollowedStudy(shared, read_space(about["space"]) if space is None else space, about, stored)
    study.refresh()
    return study
