"""What a panel shows of a search: a study that this or other processes fill, or what was kept of one, asked alike."""

from __future__ import annotations

from typing import Any

from peft import PeftConfig

from glora_lab.arguments import refuse
from glora_lab.search import SearchSpace

from .record import PathMap, SearchResult, Trial
from .record_stored import StoredSearch

CALLED = {"glora": "GLoRA", "lora": "LoRA", "gralora": "GraLoRA"}


class Found:
    """`study` is a `Study`, whatever has its `trials` and `result`, a `SearchResult` or a `StoredSearch`; None for
    nothing yet.

    Args:
        space: what the settings were chosen from, where the study does not say.

    Raises:
        ValueError: for something else.
    """

    def __init__(self, study: Any, space: SearchSpace) -> None:
        self.study: Any = SearchResult(()) if study is None else study
        if not self._is_kept and not all(hasattr(study, name) for name in ("trials", "result")):
            raise refuse("study", study, "must be a study, as search_paths gives one, a SearchResult or a StoredSearch")
        self.space: SearchSpace = getattr(self.study, "space", space)
        self._seen: tuple[Any, ...] = ()

    @property
    def called(self) -> str:
        """The method, as it is written."""
        name = self.space.method.name
        return CALLED.get(name, name)

    @property
    def result(self) -> SearchResult:
        found: SearchResult = self.study if isinstance(self.study, SearchResult) else self.study.result
        return found

    @property
    def _is_kept(self) -> bool:
        return isinstance(self.study, SearchResult | StoredSearch)

    @property
    def can_grow(self) -> bool:
        """Whether trials may come from elsewhere."""
        return not self._is_kept

    def has_grown(self) -> bool:
        """Whether there is something that there was not when this was asked last.

        A study that others fill is read anew; one that works here takes in what is new by itself, in its own thread.
        """
        if hasattr(self.study, "refresh") and not hasattr(self.study, "advance"):
            self.study.refresh()
        found = self.result
        seen = len(found.trials), found.agreement, len(found.verified)
        grown, self._seen = seen != self._seen, seen
        return grown

    @property
    def where(self) -> str:
        """How far a study is that others fill, and where it is kept; "" of any other."""
        if not hasattr(self.study, "running") or hasattr(self.study, "advance"):
            return ""
        study = self.study
        return f"{len(study.trials):,} of {study.total:,} trials, {study.running} under way, in {study.storage}"

    @property
    def gate(self) -> str:
        """What the gate said, "" before it was asked."""
        agreement = self.result.agreement
        return getattr(self.study, "said", "") or (agreement.in_words if agreement else "")

    def path_map(self, trial: Trial) -> PathMap:
        """Where a trial's parameters are; ValueError where it is of another space."""
        return self.space.path_map(self._choice(trial))

    def config(self, trial: Trial) -> PeftConfig:
        """What `get_peft_model` takes; ValueError where the trial is of another space."""
        config: PeftConfig = trial.config or self.space.config(self._choice(trial))
        return config

    def _choice(self, trial: Trial) -> tuple[int, ...]:
        try:
            return self.space.read(trial.choice)
        except ValueError as refusal:
            rule = "must be the space that the study was made with: SearchPanel(study=…, space=…)"
            raise refuse("space", self.space.method.name, f"{rule} ({refusal})") from refusal
