"""Where the trainable parameters go: per path, and per layer or kind of layer, for one budget or several.

A deep model is grouped by kind of layer (the same module in every block), so that 80 layers of seven modules
are seven bars. Inert paths keep their place, struck, hatched and at 0: leaving them out would hide that they
were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TypeAlias

from glora_lab.drawing.inks import over
from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import ending, listed, number, path_color, plain, struck
from glora_lab.drawing.traces import NAMES, Layout, meaning, on

from .record import PathBudget

MOST_LAYERS = 12  # more than these and the lower bars are kinds of layers
LONGEST_NAME = 34
NARROW = 0.12  # of the longest bar: a share below it is too narrow for its text, the legend names it
HEAD, ROW, GAP, FOOT, TOP = 30, 24, 40, 52, 96  # pixels
BETWEEN = 0.04  # of the width, between columns

Groups = dict[str, dict[str, int]]
Budgets: TypeAlias = PathBudget | Sequence[PathBudget] | Mapping[str, PathBudget]


@draws(PathBudget)
def draw_path_budget(budgets: Budgets) -> Picture:
    """Bars stacked by path: above one per budget, below one per layer or kind, in a column per budget.

    In words: of each budget the parameters in all, their share of the frozen ones, the layers, the sum for each path,
    and which paths are inert.

    Args:
        budgets: one, or several, called by their methods; or several by a name of their own.
    """
    budgets = _as_list(budgets)
    groups = _groups(budgets)
    labels = list(dict.fromkeys(label for group in groups for label in group))
    paths = dict.fromkeys(row.path for budget in budgets for row in budget.rows)
    traces = [trace for path in paths for trace in _bars(path, budgets, groups)]
    upper, lower = HEAD * len(budgets), ROW * max(len(labels), 1)
    whole = upper + GAP + lower
    return draw(
        traces,
        _title(budgets),
        " ".join(map(_describe, budgets)),
        height=whole + TOP + FOOT,
        notes=_sums(budgets, groups),
        barmode="stack",
        legend={"y": 1.02},
        margin={"t": TOP, "b": FOOT, "r": 24},
        **_axes(budgets, groups, labels, upper / whole, lower / whole),
    )


def _as_list(budgets: Budgets) -> list[PathBudget]:
    """Each budget once, under the name that it is drawn with."""
    if isinstance(budgets, Mapping):
        return [replace(budget, method=name) for name, budget in budgets.items()]
    return [budgets] if isinstance(budgets, PathBudget) else list(budgets)


def _describe(budget: PathBudget) -> str:
    """The total of a budget, its parameters per path, and what is inert and why."""
    model = f" of {budget.model}" if budget.model else ""
    share = f", {_percent(budget.share)} of the frozen ones" if budget.model_params else ""
    paths = listed(f"{path} {count:,}" for path, count in budget.by_path().items() if count)
    inert = "".join(f" {path} is inert{_in_some(budget, path)}: {reason}." for path, reason in budget.inert().items())
    where = f" in {len(budget.by_layer())} layers{model}: {paths}." if budget.rows else f" in no layer{model}."
    return f"{budget.method} trains {budget.total:,} parameters{share},{where}{inert}"


def _in_some(budget: PathBudget, path: str) -> str:
    """Nothing where a path is inert in every layer, else in how many of them."""
    if path in budget.inert_everywhere():
        return ""
    return f" in {budget.inert_layers()[path]} of {len(budget.by_layer())} layers"


def _title(budgets: Sequence[PathBudget]) -> str:
    if not any(budget.total for budget in budgets):
        return f"{listed(f'<b>{plain(budget.method)}</b>' for budget in budgets)}: nothing to train"
    if len(budgets) == 1:
        of = plain(budgets[0].model) or "the model"
        share = f", {_percent(budgets[0].share)} of {of}" if budgets[0].model_params else ""
        return f"<b>{plain(budgets[0].method)}</b> trains {number(budgets[0].total)} parameters{share}"
    model = budgets[0].model if budgets else ""
    least, most = (end(budgets, key=lambda budget: budget.total) for end in (min, max))
    of = f" of {plain(model)}" if model else ""
    if len(budgets) == 2 and 0 < least.total < most.total:
        first, second = (f"<b>{plain(budget.method)}</b>" for budget in (most, least))
        times = f"{most.total / least.total:.3g} times as many as {second} ({number(least.total)})"
        return f"{first} trains {number(most.total)} parameters{of}, {times}"
    says = f"from {_total(least)} to {_total(most)}" if least.total < most.total else listed(map(_total, budgets))
    return f"Trainable parameters{of}: {says}"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.1 else f"{share:.1%}"


def _total(budget: PathBudget) -> str:
    return f"<b>{plain(budget.method)}</b> {number(budget.total)}"


def _names(budgets: Sequence[PathBudget]) -> list[str]:
    """One category per budget: equal method names are told apart by an invisible space."""
    return [plain(budget.method) + "\u200b" * n for n, budget in enumerate(budgets)]


def _groups(budgets: Sequence[PathBudget]) -> list[Groups]:
    """Label of the row → path → parameters, of each budget: layers, or kinds where a budget has many of them.

    All in one way, so that a row is the same layers in every column.
    """
    if all(len(budget.by_layer()) <= MOST_LAYERS for budget in budgets):
        words = [name.split(".")[:-1] for budget in budgets for name in budget.by_layer()]
        shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*words, strict=False)))
        found = [
            {".".join(name.split(".")[shared:]): paths for name, paths in budget.by_layer_and_path().items()}
            for budget in budgets
        ]
    else:
        kinds = PathBudget(tuple(row for budget in budgets for row in budget.rows)).kinds()
        found = [_by_kind(budget, kinds) for budget in budgets]
    return [{ending(name, LONGEST_NAME): paths for name, paths in group.items()} for group in found]


def _by_kind(budget: PathBudget, kinds: Mapping[str, str]) -> Groups:
    members = Counter(kinds[layer] for layer in budget.by_layer())
    return {f"{kind} ×{members[kind]}": paths for kind, paths in budget.by_kind_and_path(kinds).items()}


def _bars(path: str, budgets: Sequence[PathBudget], groups: Sequence[Groups]) -> list[Layout]:
    """One path: its share of every budget's total, and its share of every row of every column."""
    sums = [budget.by_path().get(path, 0) for budget in budgets]
    if not any(sums) and not any(path in budget.inert() for budget in budgets):
        return []
    modes = {row.mode for budget in budgets for row in budget.rows if row.path == path}
    name = plain(f"{path} {modes.pop()}" if len(modes) == 1 else path)
    look: Layout = {"color": path_color(path), "line": {"width": 0}}
    if not any(sums):
        name = f"{struck(name)} inert, 0"
        look["pattern"] = {"shape": "x", "size": 5, "fillmode": "overlay", "fgopacity": 1}
    common = {"type": "bar", "orientation": "h", "marker": look, "name": name, "legendgroup": path, **meaning(path)}
    common["hovertemplate"] = f"{name}: %{{x:,}}<br>%{{y}}<extra></extra>"
    widest = max(budget.total for budget in budgets)
    text = [f"{path} {number(count)}" if count > NARROW * widest else "" for count in sums]
    inside: Layout = {"textposition": "inside", "insidetextanchor": "middle", "textangle": 0}
    inside["textfont"] = {"color": over(path_color(path))}
    total = {"x": sums, "y": _names(budgets), "text": text, **inside}
    columns = [
        {"x": [paths.get(path, 0) for paths in group.values()], "y": list(group), **on(n), "showlegend": False}
        for n, group in enumerate(groups, start=2)
        if any(paths.get(path) for paths in group.values())
    ]
    return [{**common, **one} for one in (total, *columns)]


def _sums(budgets: Sequence[PathBudget], groups: Sequence[Groups]) -> list[Layout]:
    """At the end of each bar its sum, and beside a total what is inert there."""
    notes = []
    for n, (name, budget) in enumerate(zip(_names(budgets), budgets, strict=True)):
        share = f" · {_percent(budget.share)}" if budget.model_params else ""
        dead = budget.inert_everywhere()
        inert = f" · {', '.join(struck(path) for path in dead)} inert" if dead else ""
        notes.append({"x": budget.total, "y": name, "text": f"{budget.total:,}{share}{inert}"})
        axes = {"xref": f"x{n + 2}", "yref": f"y{n + 2}", "font": {"size": 11}}
        rows = ((label, sum(paths.values())) for label, paths in groups[n].items())
        notes += [{"x": total, "y": label, "text": number(total), **axes} for label, total in rows]
    return [{"showarrow": False, "xanchor": "left", "xshift": 4, **words} for words in notes]


def _axes(
    budgets: Sequence[PathBudget], groups: Sequence[Groups], labels: list[str], upper: float, lower: float
) -> Layout:
    """The totals across the figure's width; under them the columns, which share one scale."""
    room = 1.45 * max((budget.total for budget in budgets), default=0) or 1
    across: Layout = {"showgrid": False, "showticklabels": False, "ticks": "", "range": (0, room)}
    axes = {"xaxis": across, "yaxis": {"domain": (1 - upper, 1), "autorange": "reversed", **NAMES}}
    first = next((n for n, budget in enumerate(budgets) if budget.total), 0)  # an empty column shows nothing
    longest = max((sum(paths.values()) for group in groups for paths in group.values()), default=0) or 1
    width = (1 + BETWEEN) / max(len(budgets), 1) - BETWEEN
    order = {"categoryorder": "array", "categoryarray": labels, "range": (len(labels) - 0.5, -0.5)}
    for n, budget in enumerate(budgets):
        left = n * (width + BETWEEN)
        x = {"domain": (left, min(left + width, 1)), "anchor": f"y{n + 2}", "range": (0, 1.28 * longest), "nticks": 5}
        y = {"domain": (0, lower), "anchor": f"x{n + 2}", "showticklabels": n == first}
        axes[f"xaxis{n + 2}"] = {**x, "title": f"{plain(budget.method)}, parameters"}
        axes[f"yaxis{n + 2}"] = {**y, **order, **NAMES}
    return axes
