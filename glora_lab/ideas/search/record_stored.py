"""A search that was run before and is kept as text, with what it takes to run it again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from glora_lab.record import Record

from .record import Agreement, Importance, SearchResult, Trial, Verified

FIGURES = 5  # behind the point, in a file


@dataclass(frozen=True, eq=False)
class StoredSearch(Record):
    """A search that was run before and is kept as text; `stored_search` reads the lesson's.

    Attributes:
        result: the search; its trials have no `config` unless they are given one.
        importance: what each choice is worth.
        optimism: how far the finalists' validation accuracy is above their test accuracy.
        engine: what scored the trials.
        said: the sentence where another engine took its place; else empty.
        made: model, task, space, the search's arguments, versions.
        agreements: of engines with the mean of several trainings, over settings of another space, the ranks alone.
    """

    result: SearchResult
    importance: Importance
    optimism: float
    engine: str
    said: str
    made: dict[str, Any]
    agreements: tuple[Agreement, ...] = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        return self.result.to_dicts()

    def to_json(self) -> str:
        """Accuracies and losses to five figures, nan as null, a line for each trial."""
        held = _plain(asdict(self))
        trials = held["result"].pop("trials")
        rows = ",\n".join(json.dumps({k: v for k, v in row.items() if k != "config"}) for row in trials)
        return f'{{"trials": [\n{rows}\n],\n"rest": {json.dumps(held, ensure_ascii=False, indent=1)}}}\n'

    @classmethod
    def from_json(cls, text: str) -> StoredSearch:
        """The search that `to_json` wrote."""
        held = json.loads(text)
        rest, trials = held["rest"], tuple(Trial(**_read(row)) for row in held["trials"])
        result, agreement = rest["result"], rest["result"]["agreement"]
        return cls(
            SearchResult(
                trials,
                result["limit"],
                None if agreement is None else Agreement(**_read(agreement)),
                tuple(Verified(**_read(one)) for one in result["verified"]),
            ),
            Importance(**rest["importance"]),
            **{name: rest[name] for name in ("optimism", "engine", "said", "made")},
            agreements=tuple(Agreement(**_read(one)) for one in rest["agreements"]),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if isinstance(value, float):
        return round(value, FIGURES) if math.isfinite(value) else None
    return value


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, and nan again."""
    return {
        name: tuple(value) if isinstance(value, list) else math.nan if value is None else value
        for name, value in row.items()
    }
