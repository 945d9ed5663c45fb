"""ReachPanel: the change and the rank that are chosen are those that the state holds and the pictures show."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.figures import describe_rank_reach, describe_weight_changes
from glora_lab.ideas.reach.measure_real_changes import real_weight_changes
from glora_lab.measure import best_changes, rank_reach, weight_change, weight_changes
from glora_lab.panels import ReachPanel


def check(panel: ReachPanel, place: int, r: int, seed: int = 0) -> None:
    changes = weight_changes(seed=seed)
    assert panel.best == best_changes(changes[place], r=r) and panel.reach == rank_reach(changes, r=r)
    assert panel.heatmaps.summary == describe_weight_changes(panel.best)
    assert panel.errors_over_k.summary == describe_rank_reach(panel.reach)
    assert f"<b>{changes[place].name}</b>" in panel.errors_over_k.figure.layout.title.text
    assert panel.errors == [] and panel.problem == ""


def test_it_starts_with_the_first_shape_at_rank_16() -> None:
    panel = ReachPanel()
    check(panel, 0, 16)
    assert [name for name, _ in panel.change.options] == [change.name for change in weight_changes()]


def test_another_change_is_drawn_beside_its_own_best() -> None:
    panel = ReachPanel()
    before = panel.reach
    panel.change.value = 3
    check(panel, 3, 16)
    assert panel.best[0].name == "block low rank" and panel.best[3].error == pytest.approx(0, abs=1e-7)
    assert panel.reach is before  # all changes are compared anyhow


def test_the_rank_moves_both_pictures() -> None:
    panel = ReachPanel()
    panel.change.value = 2
    panel.rank.value = 64
    check(panel, 2, 64)
    assert panel.reach.errors("global low rank")[4] == pytest.approx(0, abs=1e-7)
    assert [change.rank for change in panel.best] == [16, 16, 16, 16, 128]


def test_another_rank_decomposes_no_block_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decomposed, real = [], np.linalg.svd

    def counted(matrix: np.ndarray, *args: object, compute_uv: bool = True, **settings: object) -> object:
        decomposed.extend([matrix.shape] * compute_uv)
        return real(matrix, *args, compute_uv=compute_uv, **settings)

    monkeypatch.setattr(np.linalg, "svd", counted)
    panel = ReachPanel()
    assert len(decomposed) == 5 * 4  # changes and grids
    panel.rank.value = 64
    panel.change.value = 3
    assert len(decomposed) == 5 * 4
    panel.again.click()
    assert len(decomposed) == 2 * 5 * 4


def test_others_are_drawn_and_the_choice_stays() -> None:
    panel = ReachPanel()
    panel.change.value = 4
    panel.again.click()
    check(panel, 4, 16, seed=1)
    panel.again.click()
    check(panel, 4, 16, seed=2)


def test_changes_of_ones_own_two_of_one_name_among_them() -> None:
    dice = np.random.default_rng(0)
    mine = [weight_change(name, dice.standard_normal((16, 32))) for name in ("same", "same", "other")]
    panel = ReachPanel(mine)
    panel.change.value = 1
    assert panel.best[0] == mine[1] and panel.again.disabled and panel.reach.names == ["same", "other"]
    assert ReachPanel(mine[2]).best[0] == mine[2]
    with pytest.raises(ValueError, match=r"`k` \(=4\) must divide"):
        ReachPanel(weight_change("odd", np.ones((18, 18))))
    with pytest.raises(ValueError, match="`changes`"):
        ReachPanel([])


def test_it_can_be_printed() -> None:
    assert repr(ReachPanel()).startswith("ReachPanel(")  # no method of a widget is overwritten


def test_minilms_changes_by_its_name() -> None:
    panel = ReachPanel("minilm")
    assert [name for name, _ in panel.change.options] == [change.name for change in real_weight_changes()]
    assert panel.best[0].shape == (384, 384) and panel.again.disabled and "made in minilm" in str(panel._title.children)
    for r in (8, 64):
        panel.rank.value = r
        for name in panel.reach.names:
            errors = panel.reach.errors(name)
            assert list(errors.values()) == sorted(errors.values())  # k = 1 is nearest, k = 8 farthest
    again = ReachPanel.from_state(panel.state)
    assert again.reach == panel.reach and panel.errors == []
    with pytest.raises(ValueError, match="or 'minilm'"):
        ReachPanel("another")
