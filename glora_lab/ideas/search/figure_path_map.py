"""Where a setting's parameters are: layers down, paths across, a mark the wider the higher its rank."""

from __future__ import annotations

from glora_lab.drawing.inks import over
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import PATHS, ending, listed, number, path_color, plain
from glora_lab.drawing.traces import Layout, meaning

from .record import PathChoice, PathMap

ROW, TOP, FOOT = 20, 72, 40  # pixels
WIDEST = 0.9  # of a column
LONGEST_NAME = 30
SHAPES = {"vector": 0.16, "constant": 0.08}  # width of what has no rank


@draws(PathMap)
def draw_path_map(path_map: PathMap) -> Picture:
    """A bar for each path that is on, in the path's colour; as wide as its rank is high, thin for a vector and thinner
    for a constant.

    In words: of each layer the paths that are on with mode and rank, and how many layers are left as they are.

    Args:
        path_map: what a space's `path_map` returns.
    """
    layers = list(dict.fromkeys(row.layer for row in path_map.rows))
    paths = [path for path in PATHS if any(row.path == path for row in path_map.rows)]
    top = max((row.rank for row in path_map.rows), default=0) or 1
    traces = [_bars(path, column, path_map, top) for column, path in enumerate(paths)]
    names = [ending(layer, LONGEST_NAME) for layer in layers]
    return draw(
        traces,
        _title(path_map),
        _in_words(path_map),
        height=ROW * max(len(layers), 1) + TOP + FOOT,
        barmode="overlay",
        bargap=0.3,
        showlegend=False,
        margin={"t": TOP, "b": FOOT},
        xaxis={
            "tickvals": list(range(len(paths))),
            "ticktext": [f"<b>{path}</b>" for path in paths],
            "range": (-0.6, max(len(paths), 1) - 0.4),
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"type": "category", "categoryarray": names, "categoryorder": "array", "autorange": "reversed"},
    )


def _bars(path: str, column: int, path_map: PathMap, top: int) -> Layout:
    rows = [row for row in path_map.rows if row.path == path and row.params]
    widths = [WIDEST * row.rank / top if row.rank else SHAPES.get(row.mode, WIDEST) for row in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "y": [ending(row.layer, LONGEST_NAME) for row in rows],
        "x": widths,
        "base": [column - width / 2 for width in widths],
        "marker": {"color": path_color(path), "line": {"width": 0}},
        "text": [str(row.rank) if row.rank else "" for row in rows],
        "textposition": "inside",
        "textangle": 0,
        "textfont": {"color": over(path_color(path))},
        "insidetextanchor": "middle",
        "customdata": [[row.layer, _said(row), row.params] for row in rows],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}, %{customdata[2]:,} parameters<extra></extra>",
        **meaning(path),
    }


def _said(row: PathChoice) -> str:
    rank = f" of rank {row.rank}" if row.rank else ""
    blocks = f", {row.k}×{row.k} blocks" if row.k else ""
    return f"{row.path} {plain(row.mode)}{rank}{blocks}"


def _title(path_map: PathMap) -> str:
    if not path_map.total:
        return "Nothing to train"
    most = max(_by_layer(path_map).items(), key=lambda pair: pair[1])
    layer = plain(ending(most[0], LONGEST_NAME))
    return f"{number(path_map.total)} parameters, {most[1] / path_map.total:.0%} of them in <b>{layer}</b>"


def _by_layer(path_map: PathMap) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in path_map.rows:
        sums[row.layer] = sums.get(row.layer, 0) + row.params
    return sums


def _in_words(path_map: PathMap) -> str:
    if not path_map.total:
        return "This setting leaves nothing to train."
    on: dict[str, list[str]] = {}
    for row in path_map.rows:
        if row.params:
            on.setdefault(row.layer, []).append(_said(row))
    off = len(_by_layer(path_map)) - len(on)
    bare = {0: "", 1: " 1 layer is left as it is."}.get(off, f" {off} layers are left as they are.")
    return "; ".join(f"{layer}: {listed(paths)}" for layer, paths in on.items()) + f".{bare}"
