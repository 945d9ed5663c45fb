"""Names beside points cover neither one another nor any point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glora_lab.figures.label_places import _around, _box, _shared, label_places

SHARES = st.floats(0, 1)


def test_a_lone_name_stands_above_its_highest_point() -> None:
    assert label_places(["alone"], [[(0.5, 0.2), (0.5, 0.6)]]) == [("top center", 1)]
    assert label_places([], []) == []


def test_twelve_settings_of_the_course_cover_nothing() -> None:
    """As notebook 03 draws them: four of equal cost below, three dear ones above."""
    groups = {
        "C vector": [(0.16, 0.01), (0.16, 0.07)],
        "E vector (BitFit)": [(0.16, 0.04), (0.16, 0.06)],
        "A vector": [(0.16, 0.25), (0.16, 0.26)],
        "A, D, E vector (SSF)": [(0.4, 0.19), (0.4, 0.24)],
        "A rank 4": [(0.61, 0.32), (0.61, 0.36)],
        "B rank 2 (LoRA)": [(0.46, 0.76), (0.46, 0.83)],
        "B rank 4 (LoRA)": [(0.61, 0.87), (0.61, 0.92)],
        "B rank 8 (LoRA)": [(0.77, 0.94), (0.77, 1.0)],
        "A and B rank 4": [(0.77, 0.84), (0.77, 0.97)],
        "all paths, rank 4": [(0.84, 0.58), (0.84, 0.83)],
    }
    places = label_places(list(groups), list(groups.values()))
    points = [[(620 * x, 260 * y) for x, y in group] for group in groups.values()]
    boxes = [_box(n, side, group[at]) for n, (side, at), group in zip(groups, places, points, strict=True)]
    covered = [_around(group) for group in points]
    for n, box in enumerate(boxes):
        assert sum(_shared(box, other) for other in [*boxes[:n], *covered]) == 0, list(groups)[n]


@given(
    st.lists(st.tuples(st.text(max_size=20), st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=4)), max_size=8)
)
def test_each_name_has_a_place_at_one_of_its_points(named: list) -> None:
    places = label_places([name for name, _ in named], [group for _, group in named])
    assert len(places) == len(named)
    for (_, group), (side, at) in zip(named, places, strict=True):
        assert side in ("top center", "bottom center", "middle right", "middle left") and 0 <= at < len(group)
