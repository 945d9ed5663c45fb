"""BlockPanel: cut LoRA's two factors into k×k pairs, watch the rank climb, click a block and take it apart."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.view import adapted_layers, adapter_parameters, factor_pairs, has_factors
from glora_lab.arguments import check_is
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import linear_layers, named_layer
from glora_lab.page.controls.example_values import FRESH, SAYS, TRAINED, ExampleValuesPanel
from glora_lab.page.controls.widgets import layer_menu
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.following import FollowingPanel, status
from glora_lab.page.given import given_model
from glora_lab.page.panel import guarded_about
from glora_lab.training import TrainSession

from .figure import draw_block_grid
from .figure_block_detail import draw_block_detail
from .measure_block_cut import block_cut
from .measure_block_detail import block_detail
from .measure_rank_by_k import LAYER, rank_by_k, with_blocks
from .panel_block_map import BlockMap
from .panel_controls import BlockControls
from .record import BlockCut, BlockDetail, BlockGrid, RankAtK


class BlockPanel(ExampleValuesPanel, FollowingPanel):
    """k and r over one layer: LoRA's factors cut into pieces around their blocks, and the rank over k.

    Of a block that is chosen, its detail and its place among the norms of all.

    Args:
        model: the model whose layer is shown, left as it is; digits-vit by default. With a GraLoRA or LoRA on it,
            ours or stock PEFT's, trained or from disk, the panel starts on that adapter's own values.
        layer: a layer's name or an unambiguous end of one; the first adapted, else the first linear one.
        k, r, hybrid_r: where the controls start, unless the model carries an adapter.
        session: a TrainSession of this model, to be followed while it trains; see `follow`.

    State: `config` (the GraloraConfig of the last k, r and hybrid rank that fitted), `cut` (BlockCut), `grid` (its
    BlockGrid), `selected` (the chosen block m, n), `detail` (its BlockDetail), `ranks` (a RankAtK for each k that
    fits), `params`.

    Raises:
        ValueError: for an unknown layer, a k that does not fit it, a session of a model without blocks, or an argument
            that cannot be.
    """

    moves = MappingProxyType({"k": (1, 2, 4, 8)})
    config: GraloraConfig
    cut: BlockCut
    detail: BlockDetail
    ranks: list[RankAtK]
    params: int

    def __init__(
        self,
        model: nn.Module | None = None,
        layer: str | None = None,
        *,
        k: int = 4,
        r: int = 16,
        hybrid_r: int = 0,
        session: TrainSession | None = None,
    ) -> None:
        super().__init__()
        check_is("session", session, TrainSession, "must be a TrainSession")
        self._model = given_model(model)
        found = adapted_layers(self._model).items()
        self._carried = {n: m for n, m in found if m.active_adapters and has_factors(m, m.active_adapters[0])}
        names = list(self._carried) or linear_layers(self._model)
        self._ranks_of = ("", 0, 0)
        self.layer_choice = layer_menu(names, named_layer(names, layer), width=320)
        self.controls = BlockControls(self._change_settings, k=k, r=r, hybrid_r=hybrid_r)
        self._offer_values(trained=bool(self._carried))
        self.map = BlockMap(self._select, self._ask_for_k)
        self.detail_figure, self.norms_figure = FigureSlot(height=380), FigureSlot(height=500)
        self._note, self._status = widgets.HTML(), widgets.HTML()
        self._arrange()
        if not self._carried:
            self._config()  # there is no last good picture yet
        if session is None:
            self._change_place()
        else:
            self.follow(session)

    @property
    def grid(self) -> BlockGrid:
        """Norms and ranks of the blocks, and the rank of the whole."""
        return self.cut.grid

    @property
    def selected(self) -> tuple[int, int]:
        """The chosen block (m, n); `select` chooses another."""
        return self.map.selected

    def select(self, m: int, n: int) -> None:
        """Choose a block, as a click on it does."""
        self.map.select(m, n)

    def follow(self, session: TrainSession) -> None:
        """Show the model's adapter while this session trains it: from the event loop where one runs, else at `refresh`.

        Raises:
            ValueError: where the model carries no adapter that could be followed.
        """
        if not self._carried:
            raise ValueError("`session` needs a `model` that carries GraLoRA or LoRA: give the panel the one it trains")
        self.session = session  # from here on it rests while the model is measured
        self.values.value = TRAINED
        self._change_place()
        self._follow(session)

    def _look(self) -> None:
        if session := self.session:
            self._status.value = status(session.state, len(session.steps), session.total, session.seconds_left)
        if self.values.value == TRAINED:
            self._show()

    def _settings(self) -> dict[str, Any]:
        numbers = {"k": self.controls.k, "r": self.controls.r, "hybrid_r": self.controls.hybrid_r}
        place = {"m": self.map.m, "n": self.map.n}
        return {
            "layer": self.layer_choice,
            **numbers,
            "seed": self.again,
            "values": self.values,
            **place,
            "apart": self.map.apart,
        }

    def _arrange(self) -> None:
        self.arrange(
            title="The same numbers, cut: k × k pairs of factors, k times the rank",
            controls=[self.controls.k, self.controls.r, self.layer_choice],
            more=[self.controls.hybrid_r, self.values, self.again, *self.map.numbers, self.map.apart],
            picture=[self.map],
            below=[self._note, self._status, self.detail_figure, self.norms_figure],
        )
        self.layer_choice.observe(self._change_place, "value")
        self.values.observe(self._change_place, "value")

    @guarded_about("settings")
    def _change_place(self, _: object = None) -> None:
        """Another layer or other values: the controls follow the adapter that the model carries."""
        self.controls.offer(*features(self._base()))
        if self.values.value == TRAINED:
            found, adapter = self._adapter()
            blocks = factor_pairs(found, adapter)
            self.controls.set(k=blocks.k, r=blocks.r, hybrid_r=blocks.hybrid_r)
        self._update()

    @guarded_about("settings")
    def _change_settings(self) -> None:
        """Another k, r or hybrid rank: what the adapter is not is shown as an example."""
        try:
            self._config()
        except ValueError as refusal:  # the last good picture stays
            self.say(refusal)
            return
        self._show_example()

    def _ask_for_k(self, k: int) -> None:
        """A bar of the picture was pressed."""
        self.controls.k.value = k

    def _select(self) -> None:
        with self.guard():  # what is said about a setting stays said
            with self._measuring():
                self._measure_detail()
            self._show_chosen()

    def _update(self) -> None:
        try:
            self.config = self._config()
        except ValueError as refusal:
            self.say(refusal)
            return
        self._shown = layer = self.layer_choice.value  # a layer that is refused is not shown
        values = self.values.value
        if values == TRAINED:
            self._source, self._source_layer = self._model, layer
            found, adapter = self._adapter()
            self.config.alpha = found.scaling[adapter] * (self.config.r + self.config.hybrid_r)
        else:
            example = replace(self.config, init_weights=values == FRESH)
            self._source, self._source_layer = with_blocks(self._base(), example, seed=self.again.value), LAYER
            found, adapter = self._source[LAYER], "default"
        self.params = sum(parameter.numel() for _, parameter in adapter_parameters(found, adapter))
        asked = (layer, self.config.r, self.config.hybrid_r)
        if asked != self._ranks_of:
            self.ranks, self._ranks_of = rank_by_k(self._base(), self.config), asked
        self._note.value = SAYS[values]
        self._show()

    def _show(self) -> None:
        """Measure and draw the blocks of the layer as it is now."""
        with self._measuring():
            self.cut = block_cut(self._source, self._source_layer)
            self.cut = replace(self.cut, grid=self._named(self.cut.grid))
            self.map.show(self.cut, self.ranks)
            self._measure_detail()
        self._show_chosen()

    def _measure_detail(self) -> None:
        self.detail = self._named(block_detail(self._source, self._source_layer, *self.selected))

    def _show_chosen(self) -> None:
        """The block that was chosen, by itself and among the others; nothing before one is."""
        if self.map.apart.value:
            self.detail_figure.show(draw_block_detail(self.detail))
            self.norms_figure.show(draw_block_grid(self.grid, self.selected))
        else:
            self.detail_figure.clear()
            self.norms_figure.clear()

    def _measuring(self) -> AbstractContextManager[None]:
        """An example rests by itself; the model does between two steps of its session."""
        return self._resting() if self._source is self._model else nullcontext()

    def _config(self) -> GraloraConfig:
        into, out = features(self._base())
        return self.controls.config(self.layer_choice.value, in_features=into, out_features=out)

    def _base(self) -> Any:
        """The linear layer itself, beneath any adapter."""
        layer = self._carried.get(self.layer_choice.value) or self._model.get_submodule(self.layer_choice.value)
        return layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer

    def _adapter(self) -> tuple[Any, str]:
        found = self._carried[self.layer_choice.value]
        return found, found.active_adapters[0]

    def _named(self, record: Any) -> Any:
        """An example stands in a small model of its own; the record says which layer it is an example of."""
        return replace(record, layer=self._shown)
