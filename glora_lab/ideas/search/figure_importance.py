"""What each choice is worth, and whether an engine's order can be believed."""

from __future__ import annotations

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import FROZEN, METHOD_COLORS, RIGHT, listed, plain
from glora_lab.drawing.traces import Layout, bars

from .record import Agreement, Importance

MOST = 12  # bars
ROW, ROOM = 24, 120  # pixels


@draws(Importance)
def draw_importance(importance: Importance) -> Picture:
    """A bar for each choice, the one that explains most on top; at most twelve.

    In words: the objective, the number of trials, and the same shares.

    Args:
        importance: what a study's `importance` returns.
    """
    top = list(importance.shares.items())[:MOST]
    names, shares = [plain(name) for name, _ in top], [share for _, share in top]
    trace = bars(shares, names, RIGHT, "%{y}: %{x:.0%}<extra></extra>", text=[f"{s:.0%}" for s in shares])
    most = f"<b>{names[0]}</b> explains {shares[0]:.0%} of {importance.of}" if top else "Nothing was chosen yet"
    words = listed(f"{name} {share:.0%}" for name, share in top)
    return draw(
        [{**trace, "orientation": "h"}],
        most,
        f"Of the differences in {importance.of} over {importance.trials} trials: {words}.",
        height=ROW * max(len(top), 1) + ROOM,
        xaxis={"title": f"share of the variance of {importance.of}", "tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "showgrid": False},
    )


@draws(Agreement)
def draw_agreement(agreement: Agreement) -> Picture:
    """Settings trained for real over what the engine said of them, and beside it over their parameters.

    In words: both τ, on how many settings, and who orders better.

    Args:
        agreement: what the gate of a search found.
    """
    panes = ((agreement.scored, METHOD_COLORS["GLoRA"], "1"), (agreement.params, FROZEN, "2"))
    traces = [_points(list(x), agreement, color, n) for x, color, n in panes]
    engine = plain(agreement.engine)
    verdict = "the engine orders better" if agreement.is_better else "counting orders as well"
    return draw(
        traces,
        f"τ <b>{agreement.tau:.2f}</b> of {engine}, {agreement.tau_params:.2f} of the count: {verdict}",
        f"Kendall's {agreement.in_words}.",
        height=360,
        showlegend=False,
        xaxis={"domain": (0, 0.46), "title": f"as {plain(agreement.engine)} scores it", "tickformat": ".0%"},
        yaxis={"title": "trained for real", "tickformat": ".0%"},
        xaxis2={"domain": (0.54, 1), "title": "parameters", "anchor": "y2"},
        yaxis2={"anchor": "x2", "matches": "y", "showticklabels": False},
    )


def _points(x: list[float], agreement: Agreement, color: str, n: str) -> Layout:
    axes = {} if n == "1" else {"xaxis": "x2", "yaxis": "y2"}
    hover = "%{x:.1%}" if n == "1" else "%{x:,} parameters"
    marker = {"color": color, "size": 9}
    whole = {"type": "scatter", "mode": "markers", "x": x, "y": list(agreement.trained), "marker": marker}
    return {**whole, "hovertemplate": f"{hover}, trained %{{y:.1%}}<extra></extra>", **axes}
