"""What a GraLoRA layer is made of: k, of those that divide its features, r, and the hybrid's rank."""

from __future__ import annotations

from collections.abc import Callable

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import BlockPlan, check_fit, fitting_k
from glora_lab.arguments import check_count, check_positive_int
from glora_lab.page.controls.widgets import IntSlider, SelectionSlider
from glora_lab.training.in_turn import in_turn

RANKS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOST_K, MOST_HYBRID = 16, 16

BLOCKS = "Into how many blocks a side the change is cut: k × k blocks, each of rank r/k."
RANK = "The rank of LoRA with as many parameters; each block has r/k of it."
HYBRID = "The rank of a LoRA beside the blocks, over the whole matrix; 0 for none."


class BlockControls:
    """Sliders for k, r and hybrid rank; `on_change` is told of each move. `offer` says which k a layer's features have;
    whether k divides r too `config` asks."""

    def __init__(self, on_change: Callable[[], None], *, k: int, r: int, hybrid_r: int) -> None:
        check_positive_int("k", k)
        check_positive_int("r", r)
        check_count("hybrid_r", hybrid_r)
        self._on_change, self._setting = on_change, False
        self.k = SelectionSlider(options=[k], value=k, description="k", says=BLOCKS)
        self.r = SelectionSlider(options=RANKS, value=1, description="r", says=RANK, continuous_update=False)
        self.hybrid_r = IntSlider(0, 0, MOST_HYBRID, description="hybrid rank", says=HYBRID, continuous_update=False)
        for slider in (self.k, self.r, self.hybrid_r):
            slider.observe(self._changed, "value")
        self.set(k=k, r=r, hybrid_r=hybrid_r)

    @in_turn
    def offer(self, *features: int) -> None:
        """The k to choose from on a layer with these features, and the present one; calls nobody back."""
        self._setting = True
        kept = self.k.value
        self.k.options = sorted({kept, *(k for k in fitting_k(*features) if k <= MOST_K)})
        self.k.value = kept
        self._setting = False

    @in_turn
    def set(self, *, k: int, r: int, hybrid_r: int) -> None:
        """Move the sliders, whose ends give way, and call nobody back."""
        self._setting = True
        self.hybrid_r.max = max(self.hybrid_r.max, hybrid_r)
        self.hybrid_r.value = hybrid_r
        for slider, value in ((self.k, k), (self.r, r)):
            slider.options = sorted({*slider.options, value})
            slider.value = value
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
