"""Names beside points cover neither one another nor any point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glora_lab.drawing.label_places import DOT, HEIGHT, LETTER, LINE, RIGHT, WIDTH, label_places

SHARES = st.floats(0, 1)


def test_a_lone_name_stands_above_its_highest_point() -> None:
    assert label_places(["alone"], [[(0.5, 0.2), (0.5, 0.6)]]) == [("top center", 1)]
    assert label_places([], []) == []


def test_settings_of_the_course_cover_nothing() -> None:
    """As notebook 03 draws them: four of equal cost below, three dear ones above."""
    groups = {
        "C vector": [(0.16, 0.01), (0.16, 0.07)],
        "E vector (BitFit)": [(0.16, 0.04), (0.16, 0.06)],
        "A vector": [(0.16, 0.25), (0.16, 0.26)],
        "B vector": [(0.16, 0.12), (0.16, 0.18)],
        "A, D, E vector (SSF)": [(0.4, 0.19), (0.4, 0.24)],
        "A rank 4": [(0.61, 0.32), (0.61, 0.36)],
        "B rank 1 (LoRA)": [(0.31, 0.62), (0.31, 0.7)],
        "B rank 2 (LoRA)": [(0.46, 0.76), (0.46, 0.83)],
        "B rank 4 (LoRA)": [(0.61, 0.87), (0.61, 0.92)],
        "B rank 8 (LoRA)": [(0.77, 0.94), (0.77, 1.0)],
        "A and B rank 4": [(0.77, 0.84), (0.77, 0.97)],
        "all paths, rank 4": [(0.84, 0.58), (0.84, 0.83)],
    }
    boxes = name_boxes(groups)
    dots = [dot for group in groups.values() for dot in group]
    for n, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in boxes[:n]), list(groups)[n]
        assert not any(inside(box, dot) for dot in dots), list(groups)[n]


NAMES = st.text("abcdefgh ", min_size=1, max_size=18)


@given(NAMES, SHARES, st.lists(SHARES, min_size=1, max_size=4))
def test_a_name_covers_none_of_its_points_and_stays_in_the_picture(name: str, x: float, metrics: list[float]) -> None:
    group = [(x, metric) for metric in sorted(metrics)]
    (box,) = name_boxes({name: group})
    assert not any(inside(box, dot) for dot in group)
    assert box[0] >= 0 and box[2] <= WIDTH + RIGHT


def name_boxes(groups: dict[str, list[tuple[float, float]]]) -> list[tuple[float, float, float, float]]:
    """Left, low, right and high of each name in pixels, worked out from plotly's words."""
    boxes = []
    for (name, group), (side, at) in zip(
        groups.items(), label_places(list(groups), list(groups.values())), strict=True
    ):
        (x, y), width = (group[at][0] * WIDTH, group[at][1] * HEIGHT), LETTER * len(name)
        height, across = side.split()
        beside = {"center": 0, "right": 1, "left": -1}[across]
        above = {"top": 1, "bottom": -1, "middle": 0}[height]
        x, y = x + beside * (width / 2 + DOT), y + above * (LINE / 2 + DOT)
        boxes.append((x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2))
    return boxes


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    close = 1e-6
    return (
        min(one[2], other[2]) - max(one[0], other[0]) > close and min(one[3], other[3]) - max(one[1], other[1]) > close
    )


def inside(box: tuple[float, float, float, float], dot: tuple[float, float]) -> bool:
    return box[0] < dot[0] * WIDTH < box[2] and box[1] < dot[1] * HEIGHT < box[3]
