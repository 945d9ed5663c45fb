"""The cut with one block chosen: by a click or the arrow keys in the picture, or by the numbers m and n.

Where the picture cannot be clicked, in Colab or without anywidget, it is `draw_block_cut`'s figure, and the two numbers
do the choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from glora_lab.drawing.picture import Picture
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import WIDE, BoundedIntText, tick
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.unattended import in_colab
from glora_lab.training.in_turn import in_turn

from .figure_block_cut import draw_block_cut
from .figure_cut_cells import cut_cells
from .record import BlockCut, RankAtK

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
    """Shows a cut with `show(cut, ranks)`; `selected` is the chosen block (m, n), `apart` is the box that says
    whether it is taken apart, as it is from the first choice on.

    `on_select` is told of a new one, `on_k` of the k that was asked for in the picture, `drawn` of each `picture`.
    `chooser` is the picture to click, or None; then `figure` is the slot of the drawn one. `numbers` are the two
    controls, which the owner places.
    """

    def __init__(self, on_select: Callable[[], None], on_k: Callable[[int], None]) -> None:
        self.cut: BlockCut | None = None
        self.selected = (0, 0)
        self._ranks: Sequence[RankAtK] = ()
        self.drawn: Callable[[], None] = lambda: None
        self._on_select, self._on_k, self._setting = on_select, on_k, False
        self.numbers = self.m, self.n = tuple(
            BoundedIntText(0, min=0, max=0, description=text, says=says, style=WIDE, layout={"width": "180px"})
            for text, says in AT.items()
        )
        self.apart = tick(
            "take the block apart",
            value=False,
            says="Shows the chosen block by itself below the picture, and among the norms of all.",
        )
        clickable = block_chooser is not None and not in_colab()
        self.chooser: Any = block_chooser.BlockChooser() if block_chooser is not None and clickable else None
        self.figure = None if clickable else FigureSlot(height=440)
        super().__init__([self.chooser] if clickable else [widgets.HTML(NOT_CLICKABLE), self.figure])
        self.m.observe(self._numbers_changed, "value")
        self.n.observe(self._numbers_changed, "value")
        self.apart.observe(self._apart_changed, "value")
        if self.chooser is not None:
            self.chooser.observe(self._clicked, ["selected", "opened"])
            self.chooser.observe(self._asked_for_k, "k")

    @property
    def picture(self) -> Picture | None:
        """The picture that moves as one that stands still, for pages without widgets; a drawn one is its slot's."""
        return None if self.figure is not None or self.cut is None else self._drawn(self.cut)

    @in_turn
    def show(self, cut: BlockCut, ranks: Sequence[RankAtK]) -> None:
        """Draw this cut; the chosen block stays where it is, or goes to the last one in a smaller grid."""
        self.cut, self._ranks = cut, ranks
        m, n = (min(at, cut.grid.k - 1) for at in self.selected)
        self._set((m, n))
        if self.chooser is not None:
            self.chooser.grid = cut_cells(cut, ranks)
        self._draw_figure()

    @in_turn
    def select(self, m: int, n: int) -> None:
        """Choose a block, as a click does. A block that the grid does not have is left alone: it was clicked late."""
        k = self.cut.grid.k if self.cut is not None else 0
        if not (0 <= m < k and 0 <= n < k):
            self._set(self.selected)
        elif (m, n) != self.selected or not self.apart.value:
            self._set((m, n), apart=True)
            self._chosen()

    def _set(self, selected: tuple[int, int], *, apart: bool | None = None) -> None:
        """The chosen block in every control, and nobody told."""
        self.selected = selected
        self._setting = True
        self.apart.value = self.apart.value if apart is None else apart
        for control, at in zip(self.numbers, selected, strict=True):
            control.max = self.cut.grid.k - 1 if self.cut else 0
            control.value = at
        if self.chooser is not None:
            self.chooser.selected, self.chooser.opened = list(selected), self.apart.value
        self._setting = False

    @in_turn
    def _numbers_changed(self, _: object) -> None:
        if not self._setting:
            self.select(self.m.value, self.n.value)

    @in_turn
    def _clicked(self, _: object) -> None:
        if not self._setting:
            self.select(*self.chooser.selected)

    @in_turn
    def _apart_changed(self, _: object) -> None:
        if not self._setting:
            self._set(self.selected)
            self._chosen()

    def _chosen(self) -> None:
        self._draw_figure()
        self._on_select()

    @in_turn
    def _asked_for_k(self, change: dict[str, int]) -> None:
        if change["new"]:
            self._on_k(change["new"])
            self.chooser.k = 0  # so that the same can be asked for again

    def _draw_figure(self) -> None:
        if self.figure is not None and self.cut is not None:
            self.figure.show(self._drawn(self.cut))
        self.drawn()

    def _drawn(self, cut: BlockCut) -> Picture:
        return draw_block_cut(cut, self._ranks, self.selected if self.apart.value else None)
