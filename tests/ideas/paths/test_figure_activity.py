"""The timeline of the paths: one colour a path, both pictures from the same records."""

from glora_lab.drawing.theme import PATH_COLORS
from glora_lab.figures import describe_path_activity, plot_path_activity
from glora_lab.records import PathActivity

MOMENTS = (
    PathActivity(1, {"B": 0.5, "E": 0.25}, {"B": 0.75, "E": 0.25}),
    PathActivity(11, {"B": 2.0, "E": 0.5}, {"B": 0.5, "E": 0.5}),
)


def test_norms_left_and_shares_right_in_the_colour_of_the_path():
    b_norm, b_share, e_norm, e_share = plot_path_activity(MOMENTS).data
    assert (tuple(b_norm.x), tuple(b_norm.y)) == ((1, 11), (0.5, 2.0))
    assert (tuple(e_share.y), e_share.xaxis, e_share.yaxis) == ((0.25, 0.5), "x2", "y2")
    assert b_norm.line.color == b_share.line.color == PATH_COLORS["B"]
    assert e_norm.line.color == PATH_COLORS["E"]
    assert [t.name for t in (b_norm, e_norm) if t.showlegend is not False] == ["B", "E"]


def test_the_title_and_the_words_say_the_finding():
    assert (
        plot_path_activity(MOMENTS).layout.title.text == "After 11 steps path <b>B</b> gets most of the gradient, 50%"
    )
    assert describe_path_activity(MOMENTS) == (
        "At step 11: B has norm 2 and 50% of the gradient; E has norm 0.5 and 50% of the gradient."
    )
    assert describe_path_activity([]) == "Nothing has been measured yet."
    assert plot_path_activity([]).layout.title.text == "Nothing has been measured yet"
