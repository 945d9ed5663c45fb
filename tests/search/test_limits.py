"""Limits on what a step costs, by the measures that a cost report has."""

from __future__ import annotations

from typing import Any

import pytest

from glora_lab import SearchSpace, cost_report
from glora_lab.search.limits import Limits
from tests.search.fake_search import MODEL, TASK, counted

SPACE = SearchSpace.of(MODEL, ranks=(2, 8), target_modules=["q_proj", "v_proj"])
BATCH = TASK.train.rows(slice(0, 32))


def costs(choice: tuple[int, ...]) -> Any:
    return cost_report(MODEL, BATCH, {"it": SPACE.config(choice)}, repeats=1).row("it")


def test_every_setting_that_is_scored_is_within_all_limits() -> None:
    middle = costs((1, 1))
    limit = {"parameters": 10 * middle.params, "flops": middle.flops, "saved_bytes": middle.saved_bytes}
    study = counted(trials=50, space=SPACE, limit=limit)
    found = {trial.choice for trial in study}
    assert study.limit == 10 * middle.params and study.limits == limit
    fitting = {(a, b) for a in range(3) for b in range(3) if SPACE.fits((a, b))}
    within = {c for c in fitting if costs(c).flops <= middle.flops and costs(c).saved_bytes <= middle.saved_bytes}
    assert found == {SPACE.written(choice) for choice in within} and len(found) < len(fitting)


@pytest.mark.parametrize("kind", ["flops", "saved_bytes"])
def test_a_limit_that_nothing_meets_names_the_smallest(kind: str) -> None:
    least = min(getattr(costs(choice), kind) for choice in SPACE.simplest)
    Limits(MODEL, TASK, SPACE, {kind: least})
    with pytest.raises(ValueError, match=rf"`limit\['{kind}'\]` \(={least - 1}\) must be at least {least:,}: so much"):
        Limits(MODEL, TASK, SPACE, {kind: least - 1})


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"parameters": 5}, r"`limit` \(=5\) must be at least 768"),
        ({"time": 5}, r"`limit` \(=\{'time': 5\}\) must be of: parameters, flops, saved_bytes"),
        ({"flops": 0}, r"`limit\['flops'\]` \(=0\) must be an integer above 0"),
        (2.5, r"`limit` \(=2\.5\) must be an integer above 0"),
    ],
)
def test_what_is_no_limit_is_refused(limit: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Limits(MODEL, TASK, SPACE, limit)
