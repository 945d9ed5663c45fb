"""The ten panels as a monkey meets them: how each is made, and when what it shows is what its controls say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peft
from torch import nn

from glora_lab import panels
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.figures import (
    describe_block_detail,
    describe_gradient_report,
    describe_merge_errors,
    describe_merge_order,
    describe_merge_report,
    describe_outliers,
    describe_path_budget,
    describe_path_picture,
    describe_rank_reach,
    describe_xray,
)
from glora_lab.models import load_model


def adapted(config: type, **settings: Any) -> nn.Module:
    return peft.get_peft_model(load_model("digits-vit"), config(r=4, target_modules=["fc1"], **settings))


def shows_paths(panel: panels.PathPanel) -> bool:
    says = panel.picture.layer, panel.picture.modes, panel.config.r
    asked = panel.layer_choice.value, panel.modes.modes, panel.rank.value
    return says == asked and panel.figure.summary == describe_path_picture(panel.picture)


def shows_budget(panel: panels.BudgetPanel) -> bool:
    says = panel.config.modes, panel.config.r, panel.config.target_modules
    asked = panel.modes.modes, panel.rank.value, set(panel.targets.targets)
    return says == asked and panel.figure.summary == describe_path_budget([panel.budget, panel.lora])


def shows_training(panel: panels.TrainPanel) -> bool:
    buttons = panel.start_button.disabled, panel.stop_button.disabled, panel.racing.button.disabled
    under_way = panel.under_way
    settled = buttons == (under_way, not under_way, under_way) and panel.task.name == panel.controls.task.value
    return settled and panel.config.r == panel.controls.rank.value and panel.budget.total > 0


def shows_blocks(panel: panels.BlockPanel) -> bool:
    says = panel.grid.layer, panel.grid.k, panel.config.r, (panel.detail.m, panel.detail.n)
    controls = panel.controls
    asked = panel.layer_choice.value, controls.k.value, controls.r.value, panel.selected
    detail = describe_block_detail(panel.detail) if panel.map.apart.value else ""
    return says == asked and panel.detail_figure.summary == detail


def shows_entanglement(panel: panels.EntanglementPanel) -> bool:
    lora, gralora = panel.configs.values()
    says = {report.layer for report in panel.reports.values()}, lora.r, gralora.gralora_k
    asked = {panel._source.layer}, panel.rank.value, panel.k.value
    return says == asked and panel.figure.summary == describe_gradient_report(panel.reports, limit=panel.limit)


def shows_outliers(panel: panels.OutlierPanel) -> bool:
    lora, gralora = panel.configs.values()
    says = {report.layer for report in panel.reports.values()}, lora.r, gralora.gralora_k
    asked = {panel.map.menu.value}, panel.rank.value, panel.k.value
    framed = panel.map.chooser.chosen == panel.map.menu.index and panel.map.picture.words == describe_outliers(
        panel.atlas
    )
    summary = describe_gradient_report(panel.reports, limit=panel.limit)
    return says == asked and framed and panel.figure.summary == summary


def shows_search(panel: panels.SearchPanel) -> bool:
    if panel.under_way:  # trials come meanwhile
        return panel.map.limit == panel.controls.most
    within = [trial for trial in panel.result.trials if trial.params <= panel.controls.most]
    best = max((trial.metric for trial in within), default=None)
    right = panel.map.limit == panel.controls.most and best == (panel.best and panel.best.metric)
    asked = panel.map.number.value
    chosen = panel.chosen == panel.best if asked == -1 else panel.chosen is None or panel.chosen.number == asked
    return right and chosen and (panel.path_map is None) == (panel.chosen is None)


def shows_reach(panel: panels.ReachPanel) -> bool:
    return panel.best[0].name == panel.change.label and panel.errors_over_k.summary == describe_rank_reach(panel.reach)


def shows_xray(panel: panels.XrayPanel) -> bool:
    shown = panel.spectrum == panel.report.row(panel.layer_choice.value).spectrum
    return shown and panel.figure.summary == describe_xray(panel.report)


def shows_merging(panel: panels.MergePanel) -> bool:
    if panel.about.value == "two adapters":
        return panel.order.layer == panel.layer_choice.value and panel.figure.summary == describe_merge_order(
            panel.order
        )
    describe = describe_merge_report if panel.about.value == "the base" else describe_merge_errors
    says = panel.report.rows[0].layer, panel.report.dtype, panel.report.cycles
    asked = panel.layer_choice.value, panel.precision.value, panel.cycles.value
    return says == asked and panel.figure.summary == describe(panel.report)


QUICK_SEARCH: dict[str, Any] = {"engine": "short", "gate": 0, "steps": 1, "trials": 2, "keep_runs": False}


@dataclass(frozen=True)
class Subject:
    """A panel to try: the caller's model, the panel over it, and whether it shows what its controls say."""

    model: Callable[[], nn.Module]
    panel: Callable[[nn.Module], panels.Panel]
    right: Callable[[Any], bool]


SUBJECTS: dict[str, Subject] = {
    "PathPanel": Subject(lambda: adapted(GloraConfig), panels.PathPanel, shows_paths),
    "BudgetPanel": Subject(lambda: load_model("digits-vit"), panels.BudgetPanel, shows_budget),
    "TrainPanel": Subject(
        lambda: load_model("digits-vit"), lambda model: panels.TrainPanel(model, rank=2, steps=2), shows_training
    ),
    "BlockPanel": Subject(lambda: adapted(GraloraConfig, gralora_k=2), panels.BlockPanel, shows_blocks),
    "EntanglementPanel": Subject(
        lambda: load_model("digits-vit"), lambda model: panels.EntanglementPanel(model, size=32), shows_entanglement
    ),
    "OutlierPanel": Subject(lambda: load_model("digits-vit"), panels.OutlierPanel, shows_outliers),
    "SearchPanel": Subject(
        lambda: load_model("digits-vit"), lambda model: panels.SearchPanel(model, **QUICK_SEARCH), shows_search
    ),
    "ReachPanel": Subject(nn.Module, lambda _: panels.ReachPanel(), shows_reach),
    "XrayPanel": Subject(lambda: adapted(peft.LoraConfig), panels.XrayPanel, shows_xray),
    "MergePanel": Subject(
        lambda: load_model("digits-vit"), lambda model: panels.MergePanel(model, cycles=3), shows_merging
    ),
}
