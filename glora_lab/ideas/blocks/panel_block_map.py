"""The block grid with one block chosen: by a click or the arrow keys in the picture, or by the numbers m and n.

Where the picture cannot be clicked, in Colab or without anywidget, it is `draw_block_grid`'s figure, and the two
numbers do the choosing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import ipywidgets as widgets

from glora_lab.page.controls.widgets import WIDE, BoundedIntText
from glora_lab.page.figure_slot import FigureSlot, in_colab
from glora_lab.training.in_turn import in_turn

from .figure import draw_block_grid
from .figure_block_cells import block_cells
from .record import BlockGrid

block_chooser: ModuleType | None
try:
    from . import panel_block_chooser as block_chooser
except ImportError:  # no anywidget
    block_chooser = None


AT = {
    "m, output block": "The row of the block that is shown in detail: the output channels that it writes.",
    "n, input block": "The column of the block that is shown in detail: the input channels that it reads.",
}
NOT_CLICKABLE = "The picture cannot be clicked on this page: choose the block by its two numbers."


class BlockMap(widgets.VBox):
    """Shows a grid with `show(grid)`; `selected` is the chosen block (m, n), and `on_select` is told of a new one.

    `chooser` is the picture to click, or None; then `figure` is the slot of the drawn one.
    """

    def __init__(self, on_select: Callable[[], None]) -> None:
        self.grid: BlockGrid | None = None
        self.selected = (0, 0)
        self._on_select, self._setting = on_select, False
        self.m, self.n = (
            BoundedIntText(0, min=0, max=0, description=text, says=says, style=WIDE, layout={"width": "180px"})
            for text, says in AT.items()
        )
        clickable = block_chooser is not None and not in_colab()
        self.chooser: Any = block_chooser.BlockChooser() if block_chooser is not None and clickable else None
        self.figure = None if clickable else FigureSlot(height=500)
        picture = [self.chooser] if clickable else [widgets.HTML(NOT_CLICKABLE), self.figure]
        super().__init__([widgets.HBox([self.m, self.n]), *picture])
        self.m.observe(self._numbers_changed, "value")
        self.n.observe(self._numbers_changed, "value")
        if self.chooser is not None:
            self.chooser.observe(self._clicked, "selected")

    @in_turn
    def show(self, grid: BlockGrid) -> None:
        """Draw this grid; the chosen block stays where it is, or goes to the last one in a smaller grid."""
        self.grid = grid
        m, n = (min(at, grid.k - 1) for at in self.selected)
        self._set((m, n))
        if self.chooser is not None:
            self.chooser.grid = block_cells(grid)
        self._draw_figure()

    @in_turn
    def select(self, m: int, n: int) -> None:
        """Choose a block, as a click does. A block that the grid does not have is left alone: it was clicked late."""
        if self.grid is None or not (0 <= m < self.grid.k and 0 <= n < self.grid.k):
            self._set(self.selected)
        elif (m, n) != self.selected:
            self._set((m, n))
            self._draw_figure()
            self._on_select()

    def _set(self, selected: tuple[int, int]) -> None:
        """The chosen block in every control, and nobody told."""
        self.selected = selected
        self._setting = True
        for control, at in zip((self.m, self.n), selected, strict=True):
            control.max = self.grid.k - 1 if self.grid else 0
            control.value = at
        if self.chooser is not None:
            self.chooser.selected = list(selected)
        self._setting = False

    @in_turn
    def _numbers_changed(self, _: object) -> None:
        if not self._setting:
            self.select(self.m.value, self.n.value)

    @in_turn
    def _clicked(self, change: dict[str, list[int]]) -> None:
        if not self._setting:
            self.select(*change["new"])

    def _draw_figure(self) -> None:
        if self.figure is not None and self.grid is not None:
            self.figure.show(draw_block_grid(self.grid, self.selected))
