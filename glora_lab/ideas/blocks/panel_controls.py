"""What a GraLoRA layer is made of: k, r and the hybrid's rank, an impossible k among them."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import BlockPlan, check_fit
from glora_lab.arguments import check_count, check_positive_int
from glora_lab.page.controls.widgets import IntSlider, SelectionSlider
from glora_lab.training.in_turn import in_turn

RANKS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOST_K, MOST_HYBRID = 16, 16

BLOCKS = "Into how many blocks a side the change is cut: k × k blocks, each of rank r/k."
RANK = "The rank of LoRA with as many parameters; each block has r/k of it."
HYBRID = "The rank of a LoRA beside the blocks, over the whole matrix; 0 for none."


class BlockControls(widgets.HBox):
    """Sliders for k (every number, whether it fits or not), r and hybrid rank; `on_change` is told of each move."""

    def __init__(self, on_change: Callable[[], None], *, k: int, r: int, hybrid_r: int) -> None:
        check_positive_int("k", k)
        check_positive_int("r", r)
        check_count("hybrid_r", hybrid_r)
        self._on_change, self._setting = on_change, False
        self.k = IntSlider(1, 1, MOST_K, description="k", says=BLOCKS, continuous_update=False)
        self.r = SelectionSlider(options=RANKS, value=1, description="r", says=RANK, continuous_update=False)
        self.hybrid_r = IntSlider(0, 0, MOST_HYBRID, description="hybrid rank", says=HYBRID, continuous_update=False)
        super().__init__([self.k, self.r, self.hybrid_r], layout={"flex_flow": "row wrap"})
        for slider in self.children:
            slider.layout.width = "255px"
            slider.observe(self._changed, "value")
        self.set(k=k, r=r, hybrid_r=hybrid_r)

    @in_turn
    def set(self, *, k: int, r: int, hybrid_r: int) -> None:
        """Move the sliders, whose ends give way, and call nobody back."""
        self._setting = True
        for slider, value in ((self.k, k), (self.hybrid_r, hybrid_r)):
            slider.max = max(slider.max, value)
            slider.value = value
        if r not in self.r.options:
            self.r.options = tuple(sorted({*self.r.options, r}))
        self.r.value = r
        self._setting = False

    def config(self, layer: str, *, in_features: int, out_features: int) -> GraloraConfig:
        """What the sliders say; ValueError in words where k does not fit, with the k that would."""
        k, r, hybrid_r = self.k.value, self.r.value, self.hybrid_r.value
        check_fit([BlockPlan(layer, in_features, out_features, r, hybrid_r, k, scaling=1.0)], k)
        return GraloraConfig(r=r, hybrid_r=hybrid_r, gralora_k=k, target_modules=[layer])

    @in_turn
    def _changed(self, _: object) -> None:
        if not self._setting:
            self._on_change()
