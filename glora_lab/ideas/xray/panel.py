"""XrayPanel: open an adapter, see where it changes the model, and look into one layer."""

from __future__ import annotations

import html
from collections.abc import Mapping
from os import PathLike
from typing import Any

from torch import nn

from glora_lab.arguments import check_is
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import WIDE, Button, Dropdown, Text
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.given import check_model
from glora_lab.page.panel import Panel, guarded, guarded_about

from .figure import NORM, draw_xray, xray_heading, xray_values
from .figure_layer import draw_xray_layer
from .measure import xray
from .record import XrayReport
from .record_spectrum import Spectrum

SHOW = "What the cells of the map stand for, one for each layer."
LAYER = "The layer whose spectrum and parts are shown below."


class XrayPanel(Panel):
    """A folder to open → heatmap of all layers and the ten strongest; a layer to choose → its spectrum and parts.

    Args:
        path_or_model: an adapter's folder, or a model that carries one; None waits for a folder to be named.
        base_model: the plain model beneath an adapter from disk, for GLoRA's terms that multiply W0.

    State: `report` (XrayReport) and `spectrum` (of the chosen layer), each None before anything is open; `spectrum`
    also where the layer has none. A folder that cannot be read is said, and what was shown stays.

    Raises:
        ValueError: for what is neither a folder's name nor a model.
    """

    report: XrayReport | None
    spectrum: Spectrum | None

    @property
    def moves(self) -> Mapping[str, Any]:
        """The strongest layers, one after the other."""
        return {"layer": [row.layer for row in self.report.strongest(6)]} if self.report is not None else {}

    def __init__(
        self, path_or_model: str | PathLike[str] | nn.Module | None = None, base_model: nn.Module | None = None
    ) -> None:
        super().__init__()
        rule = "must be an adapter's folder, or a model that carries one"
        check_is("path_or_model", path_or_model, (str, PathLike, nn.Module), rule)
        check_model("base_model", base_model)
        self.report, self.spectrum = None, None
        self._base_model, self._filling = base_model, False
        self._given = model = path_or_model if isinstance(path_or_model, nn.Module) else None
        named = "" if model is not None or path_or_model is None else str(path_or_model)
        self.folder = Text(
            named,
            description="folder",
            placeholder="an adapter's folder",
            says="The folder of an adapter, as PEFT saves it; Enter opens it.",
            continuous_update=False,
            style=WIDE,
            layout={"width": "420px"},
        )
        self.open_button = Button(
            description="Open", icon="folder-open", says="Opens the folder.", layout={"width": "auto"}
        )
        self.values = Dropdown(
            options=[(xray_heading(NORM), NORM)],
            description="cells show",
            says=SHOW,
            style=WIDE,
            layout={"width": "360px"},
        )
        self.layer_choice = Dropdown(options=[], description="layer", says=LAYER, style=WIDE, layout={"width": "460px"})
        self.figure, self.layer_figure = FigureSlot(height=430), FigureSlot(height=360)
        self._note = widgets.HTML()
        self.arrange(title=self._note, controls=[self.folder, self.open_button], picture=[])
        self.folder.observe(self._open_folder, "value")
        self.open_button.on_click(self._open_folder)
        self.values.observe(self._change_values, "value")
        self.layer_choice.observe(self._change_layer, "value")
        self._open_folder()

    def _settings(self) -> dict[str, Any]:
        return {"folder": self.folder, "cells": self.values, "layer": self.layer_choice}

    @guarded_about("what is open")
    def _open_folder(self, _: object = None) -> None:
        """Open what is named; without a name the model that was given, where there is one."""
        named = self.folder.value.strip()
        what = named or self._given
        if what is not None and what != "":
            self._open(what)
        else:
            self.report, self.spectrum = None, None
            self.arrange(title=self._note, controls=[self.folder, self.open_button], picture=[])
            self.figure.clear()
            self.layer_figure.clear()
            self._filling, self.layer_choice.options = True, ()
            self._filling = False
            self._note.value = "Name a folder that <code>save_pretrained</code> wrote, and open it."

    @guarded_about("what is open")
    def _open(self, what: str | nn.Module) -> None:
        try:
            report = xray(what, None if isinstance(what, nn.Module) else self._base_model)
        except ValueError as refusal:
            self.say(refusal)  # an answer, no error of the panel
            return
        self.report = report
        self._offer(report)
        self._note.value = f"Open: <b>{html.escape(report.source)}</b>"
        self.arrange(
            title=self._note,
            controls=[self.folder, self.open_button, self.values],
            picture=[self.figure],
            below=[self.layer_choice, self.layer_figure],
        )
        self._draw_all()
        self._draw_layer()

    def _offer(self, report: XrayReport) -> None:
        """What the two menus have to choose from, without an answer to each change."""
        self._filling = True
        self.values.options, self.values.value = [(xray_heading(value), value) for value in xray_values(report)], NORM
        strongest = report.strongest(1) or report.rows[:1]
        self.layer_choice.options = [row.layer for row in report.rows]
        self.layer_choice.value = strongest[0].layer
        self._filling = False

    @guarded
    def _change_values(self, _: object) -> None:
        if not self._filling and self.report is not None:
            self._draw_all()

    @guarded
    def _change_layer(self, _: object) -> None:
        if not self._filling and self.report is not None:
            self._draw_layer()

    def _draw_all(self) -> None:
        assert self.report is not None
        self.figure.show(draw_xray(self.report, self.values.value))

    def _draw_layer(self) -> None:
        assert self.report is not None
        row = self.report.row(self.layer_choice.value)
        self.spectrum = row.spectrum
        self.layer_figure.show(draw_xray_layer(row, self.report.method))
