"""The atlas with one layer chosen: by a click or the arrow keys in the picture, or by its name.

Where the picture cannot be clicked, in Colab or without anywidget, it is `draw_outliers`' figure, and the menu does the
choosing.
"""

from __future__ import annotations

from collections.abc import Callable

from glora_lab.drawing.picture import Picture
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Dropdown, layer_menu
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.unattended import in_colab
from glora_lab.training.in_turn import in_turn

from .figure import draw_outliers
from .figure_atlas_cells import atlas_cells
from .panel_layer_chooser import LayerChooser
from .record import Outliers

NAME = "The layer that is taken apart below the maps; a click on a cell chooses it too."
NOT_CLICKABLE = "The picture cannot be clicked on this page: choose the layer by its name."


class OutlierMap(widgets.VBox):
    """Shows an atlas with its `layer` framed; `menu` is the control that says which, and the owner places and hears it.

    `drawn` is told of each `picture`: see LastPicture.
    """

    def __init__(self, atlas: Outliers, layer: str) -> None:
        self.atlas = atlas
        self.drawn: Callable[[], None] = lambda: None
        names = [row.layer for row in atlas.rows]
        self.menu: Dropdown = layer_menu(names, layer, width=340, says=NAME)
        self.chooser = None if in_colab() else LayerChooser(atlas=atlas_cells(atlas), chosen=names.index(layer))
        self.figure = FigureSlot(height=440) if self.chooser is None else None
        super().__init__([self.chooser] if self.figure is None else [widgets.HTML(NOT_CLICKABLE), self.figure])
        if self.chooser is not None:
            self.chooser.observe(self._clicked, "chosen")

    @property
    def layer(self) -> str:
        name: str = self.menu.value
        return name

    @property
    def picture(self) -> Picture | None:
        """The same as a figure, for pages without widgets; a drawn one is its slot's."""
        return draw_outliers(self.atlas, self.layer) if self.figure is None else None

    @in_turn
    def mark(self) -> None:
        """Frame the layer that the menu says."""
        if self.chooser is not None:
            self.chooser.chosen = self.menu.index
        elif self.figure is not None:
            self.figure.show(draw_outliers(self.atlas, self.layer))
        self.drawn()

    @in_turn
    def _clicked(self, change: dict[str, int]) -> None:
        """A place that there is not is left alone, and the page told so."""
        if 0 <= change["new"] < len(self.atlas.rows):
            self.menu.index = change["new"]
        else:
            self.mark()
