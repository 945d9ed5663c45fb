"""OutlierPanel: where a model has channels far larger than the others, and what one layer's do to an adapter."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from peft import LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import fitting_k
from glora_lab.anatomy.batch import Batch, Loss
from glora_lab.arguments import check_count, check_positive_int, refuse
from glora_lab.drawing.theme import listed
from glora_lab.ideas.entanglement.figure import draw_gradient_report
from glora_lab.ideas.entanglement.measure import SCALINGS, sensible_limit
from glora_lab.ideas.entanglement.measure_fresh import fresh_report
from glora_lab.ideas.entanglement.record import LIMIT, GradientReport
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import named_layer
from glora_lab.page.controls.widgets import Dropdown, IntSlider, SelectionSlider, again
from glora_lab.page.figure_slot import FigureSlot, sentence
from glora_lab.page.given import check_batch
from glora_lab.page.panel import Panel, guarded_about

from .measure import outliers
from .measure_controls import CONTROLS, PLANTED, SHUFFLED, controlled
from .measure_localisation import expected_share
from .measure_tokens import LayerTokens, layer_tokens
from .panel_batch import batch_of
from .panel_outlier_map import OutlierMap
from .record import Outliers

MOST_RANK, MOST_K = 128, 16
KS = (1, 2, 4, 8, 16)
SAYS = {
    "channels": "What is done to the layer's channels before the adapters are asked; what it computes stays.",
    "rank": "The rank of LoRA and of GraLoRA, which have equally many parameters.",
    "k": "Into how many blocks a side GraLoRA cuts the change: k × k blocks.",
    "scaling": "How much an adapter's gradient is multiplied by, to be compared.",
}
DOES = {
    "as it is": "The layer as it is.",
    "calmed": "Every outlier's column is brought down to the median.",
    "one ×100": f"Outliers are calmed, and the strongest channel is made {PLANTED:g} times the median.",
    "even, one ×100": f"All channels have one size, and the strongest is made {PLANTED:g} times that.",
    SHUFFLED: "What comes in and what comes back belong to different tokens.",
}


class OutlierPanel(Panel):
    """The atlas of outliers, layers × modules, and of the layer that is clicked the gradient under LoRA and GraLoRA.

    Args:
        model: a name for `load_model`, or a model, which is left as it is; digits-vit by default. "minilm" comes with a
            fresh head for `task`.
        batch: what its loss is taken on, as in `gradient_report`; 32 training examples of `task` by default.
        loss: `loss(outputs, targets)` for a batch (inputs, targets).
        task: a key of `TASKS` that goes with the model; None for the first of them.
        layer: where to start: a layer's name, or an unambiguous end of one; None for that of the strongest gradient.
        rank, k, seed: where the controls start.

    The adapters are fresh, so that nothing of them is asked but how they begin, and G is that of the bare layer.

    State: `atlas` (Outliers), `configs` and `reports` by name, LoRA first, of the layer that is shown; `gradient`, the
    G that they are of. A setting that cannot be is said, and all of this stays as it was.

    Raises:
        ValueError: for an unknown layer or task, a number that is none, a model that carries an adapter, or a batch
            that gives no loss.
    """

    moves = MappingProxyType({"channels": CONTROLS})
    atlas: Outliers
    configs: dict[str, PeftConfig]
    reports: dict[str, GradientReport]

    def __init__(
        self,
        model: nn.Module | str | None = None,
        batch: Batch | None = None,
        *,
        loss: Loss | None = None,
        task: str | None = None,
        layer: str | None = None,
        rank: int = 16,
        k: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, most in (("rank", rank, MOST_RANK), ("k", k, MOST_K)):
            check_positive_int(name, value)
            if value > most:
                raise refuse(name, value, f"must be at most {most}")
        check_count("seed", seed)
        check_batch(batch, loss)
        self._model, self._batch, batch_says = batch_of(model, batch, task)
        self._loss, self.configs, self.reports = loss, {}, {}
        self.atlas = outliers(self._model, self._batch, loss=loss)
        start = self.atlas.strongest()[1].layer
        names = [row.layer for row in self.atlas.rows]
        self.map = OutlierMap(self.atlas, start if layer is None else named_layer(names, layer))
        self._tokens: tuple[str, LayerTokens] | None = None  # of the layer that is shown
        self.control = _menu("channels", CONTROLS)
        least, step = (4, 4) if rank % 4 == 0 else (1, 1)
        self.rank = IntSlider(rank, least, MOST_RANK, step, description="rank", says=SAYS["rank"])
        self.rank.continuous_update = False
        self.k = SelectionSlider(options=sorted({*KS, k}), value=k, description="k", says=SAYS["k"])
        self.scaling = _menu("scaling", SCALINGS)
        self.scaling.value = "equal decrease"
        self.again = again(seed=seed)
        self.figure = FigureSlot(height=444)
        self.note = widgets.HTML()
        self.arrange(
            title=f"Which channels are far larger than the others? {batch_says}",
            controls=[self.map.menu, self.control, self.rank, self.k],
            more=[self.scaling, self.again],
            picture=[self.map],
            below=[self.note, self.figure],
        )
        for control in self._settings().values():
            control.observe(self._change, "value")
        self._change()

    def _settings(self) -> dict[str, Any]:
        numbers = {"rank": self.rank, "k": self.k, "scaling": self.scaling, "seed": self.again}
        return {"layer": self.map.menu, "channels": self.control, **numbers}

    @guarded_about("settings")
    def _change(self, _: object = None) -> None:
        self.map.mark()
        layer, rank, k = self.map.layer, self.rank.value, self.k.value
        tokens = self._tokens_of(layer)
        out, into = tokens.g.shape[1], tokens.x.shape[1]
        fitting = fitting_k(into, out, rank)
        if k not in fitting:  # the last picture stays
            self.say(
                f"`k` (={k}) must divide the {into} inputs and {out} outputs of {layer} and the rank {rank}: "
                f"{listed(map(str, fitting))} would"
            )
            return
        self.gradient = controlled(tokens, self.control.value, seed=self.again.value)
        self.configs = self._configured(layer)
        asked: dict[str, Any] = {"scaling": self.scaling.value, "seed": 1000 + self.again.value}
        self.reports = {n: fresh_report(layer, self.gradient, one, **asked) for n, one in self.configs.items()}
        self.limit = sensible_limit(into, rank, scaling=self.scaling.value)
        self.note.value = sentence(self._in_words(rank, k))
        self.figure.show(draw_gradient_report(self.reports, limit=self.limit))

    def _tokens_of(self, layer: str) -> LayerTokens:
        """Those of the layer that is shown are kept: the other controls need no pass through the model."""
        if self._tokens is None or self._tokens[0] != layer:
            self._tokens = layer, layer_tokens(self._model, self._batch, [layer], loss=self._loss)[layer]
        return self._tokens[1]

    def _configured(self, layer: str) -> dict[str, PeftConfig]:
        """LoRA and GraLoRA of the same rank, parameters and scaling; alpha is twice the rank."""
        r, k = self.rank.value, self.k.value
        return {
            "LoRA": LoraConfig(r=r, lora_alpha=2 * r, target_modules=[layer]),
            f"GraLoRA k={k}": GraloraConfig(r=r, alpha=2 * r, gralora_k=k, target_modules=[layer]),
        }

    def _in_words(self, rank: int, k: int) -> str:
        """What was done to the layer, from where on a channel is off, and what its column sizes alone would have."""
        off = f"“Off” is by more than {self.limit:.2g} times"
        if self.limit > LIMIT:
            off += f", twice what rank {rank} costs every channel without an outlier"
        said = f"{DOES[self.control.value]} {off}."
        if self.scaling.value != "equal decrease":
            return said
        shares = [expected_share(self.gradient, k=one, r=rank, limit=self.limit) for one in (1, k)]
        return f"{said} The sizes of G's columns, no adapter drawn, let one expect {shares[0]:.0%} and {shares[1]:.0%}."


def _menu(label: str, options: Any) -> Dropdown:
    look: dict[str, Any] = {"style": {"description_width": "initial"}, "layout": {"width": "240px"}}
    return Dropdown(options=list(options), description=label, says=SAYS[label], **look)
