"""EntanglementPanel: one input channel goes wild, and how far that reaches under LoRA and under GraLoRA."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from peft import LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.gralora.blocks import fitting_k
from glora_lab.anatomy.batch import Batch, Loss
from glora_lab.arguments import check_choice, check_count, check_positive_int
from glora_lab.data import TASKS, load_task
from glora_lab.data.minilm import MINILM
from glora_lab.drawing.theme import listed
from glora_lab.models import load_model
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import linear_layers, named_layer
from glora_lab.page.controls.modes import choice
from glora_lab.page.controls.widgets import Dropdown, FloatLogSlider, IntSlider, again
from glora_lab.page.figure_slot import FigureSlot, sentence
from glora_lab.page.given import check_batch, given_model
from glora_lab.page.panel import Panel, guarded, guarded_about

from .figure import draw_gradient_report
from .measure import SCALINGS, sensible_limit, usual_deviation
from .panel_outlier_source import LayerSource, SyntheticSource, own_copy
from .record import LIMIT, GradientReport

SYNTHETIC = "synthetic layer"
EXAMPLES = 32
LABEL = {"description_width": "110px"}
LAYER = "A layer made for the purpose, or one of the model with a real batch."
SLIDER_SAYS = {
    "outlier channel": "The input channel that is made larger than the others.",
    "magnitude ×": "How many times larger that channel is made; 1 leaves it as it is.",
    "rank": "The rank of LoRA and of GraLoRA, which have equally many parameters.",
    "k": "Into how many blocks a side GraLoRA cuts the change: k × k blocks.",
}
SCALING_SAYS = {
    "as is": "as is: by 1.",
    "equal decrease": "equal decrease: so that a step decreases the loss as much as full fine-tuning's.",
    "equal size": "equal size: so that it is as large as full fine-tuning's.",
}


class EntanglementPanel(Panel):
    """Outlier, rank, k and convention → full fine-tuning's gradient beside what LoRA and GraLoRA make of it.

    Args:
        model: a model whose layers can be chosen beside the synthetic one; digits-vit by default, and "minilm" for
            that one with a fresh head for `task`. It is left as it is.
        batch: what its loss is taken on, as in `gradient_report`; 32 training examples of `task` by default.
        loss: `loss(outputs, targets)` for a batch (inputs, targets).
        layer: where to start: a layer of the model by its name, or an unambiguous end of one; None for the synthetic.
        task: a key of `TASKS`; "docstrings" for minilm and "digits-turned" for another model by default.
        size: input and output channels of the synthetic layer; `rank`, `k` and `seed` are where the controls start.

    On a real layer the panel finds the strongest channel and starts on it with magnitude 1, which changes nothing;
    the magnitude multiplies the chosen channel before it enters the layer.

    State: `configs` and `reports` by name, LoRA first; `contaminated`, the blocks (m, n) in which GraLoRA's gradient
    is off by more than `limit`. A setting that cannot be is said, and all of this stays as it was; a layer that the
    batch does not reach is not moved to.

    Raises:
        ValueError: for an unknown layer or task, a number that is none, or a model that carries an adapter.
    """

    moves = MappingProxyType({"k": (2, 4, 8)})
    configs: dict[str, PeftConfig]
    reports: dict[str, GradientReport]

    def __init__(
        self,
        model: nn.Module | str | None = None,
        batch: Batch | None = None,
        *,
        loss: Loss | None = None,
        layer: str | None = None,
        task: str | None = None,
        size: int = 128,
        rank: int = 64,
        k: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("size", size), ("rank", rank), ("k", k)):
            check_positive_int(name, value)
        check_count("seed", seed)
        task = ("docstrings" if model == MINILM else "digits-turned") if task is None else task
        check_choice("task", task, TASKS)
        check_batch(batch, loss)
        self.configs, self.reports, self.limit = {}, {}, LIMIT
        if model == MINILM:
            model = load_model(MINILM, num_labels=load_task(task).num_classes)
        self._model = own_copy(given_model(model))
        self._batch, self._batch_says = (batch, "the batch that was given") if batch is not None else _first(task)
        self._loss, self._size, self._following = loss, size, False
        names = linear_layers(self._model)
        start = SYNTHETIC if layer is None else named_layer(names, layer)
        self._source: SyntheticSource | LayerSource = SyntheticSource(size)
        self.layer_choice = Dropdown(
            options=[SYNTHETIC, *names],
            value=start,
            description="layer",
            says=LAYER,
            style=LABEL,
            layout={"width": "410px"},
        )
        self.channel = _slider(IntSlider, "outlier channel", 0, min=0, max=size - 1)
        self.magnitude = _slider(FloatLogSlider, "magnitude ×", 1.0, min=0, max=3, step=0.1, readout_format=".3g")
        self.channel.add_class("glora-channel-i")  # the channel is marked in every map: page/light.js
        self.rank = _slider(IntSlider, "rank", rank, min=min(4, rank), max=max(128, rank), step=1 if rank % 4 else 4)
        self.k = _slider(IntSlider, "k", k, min=1, max=max(16, k))
        self.scaling = choice(
            "scaling", SCALINGS, "How much an adapter's gradient is multiplied by, to be compared.", SCALING_SAYS
        )
        self.scaling.value = "equal decrease"
        self.again = again(seed=seed)
        self.figure = FigureSlot(height=444)
        self.note = widgets.HTML()
        self._arrange()
        self._change_layer()

    @property
    def contaminated(self) -> list[tuple[int, int]]:
        """The blocks of GraLoRA whose gradient is off by more than `limit`; its report is the last."""
        return [*self.reports.values()][-1].contaminated(self.limit) if self.reports else []

    def _settings(self) -> dict[str, Any]:
        outlier = {"layer": self.layer_choice, "channel": self.channel, "magnitude": self.magnitude}
        return {**outlier, "rank": self.rank, "k": self.k, "scaling": self.scaling, "seed": self.again}

    def _arrange(self) -> None:
        self.arrange(
            title="One input channel goes wild: whose gradient suffers?",
            controls=[self.channel, self.magnitude, self.rank, self.k, self.layer_choice],
            more=[self.scaling, self.again],
            picture=[self.figure],
            below=[self.note],
        )
        self.layer_choice.observe(self._change_layer, "value")
        for control in (self.channel, self.magnitude, self.rank, self.k, self.scaling, self.again):
            control.observe(self._change_settings, "value")

    @guarded
    def _change_layer(self, _: object = None) -> None:
        """Another layer; where it cannot be shown, the choice goes back to the one that is."""
        if self._following:
            return
        try:
            self._source = self._source_of(self.layer_choice.value)
        except Exception as refusal:
            stays = SYNTHETIC if isinstance(self._source, SyntheticSource) else self._source.layer
            self._following, self.layer_choice.value = True, stays
            self._following = False
            if not self.reports:
                self._start()
            if not isinstance(refusal, ValueError):
                raise
            self.say(refusal)
            return
        self._start()

    def _source_of(self, layer: str) -> SyntheticSource | LayerSource:
        if layer == SYNTHETIC:
            return SyntheticSource(self._size)
        return LayerSource(self._model, layer, self._batch, self._loss, self._batch_says)

    def _start(self) -> None:
        """The outlier controls go to the layer's strongest channel, or to the synthetic layer's own start."""
        self._following = True
        self.channel.max = self._source.features[1] - 1
        self.channel.value, self.magnitude.value = self._source.start
        self._following = False
        self._update()

    @guarded
    def _change_settings(self, _: object = None) -> None:
        if not self._following:
            self._update()

    @guarded_about("settings")
    def _update(self) -> None:
        outlier = {"channel": self.channel.value, "magnitude": self.magnitude.value}
        fitting = fitting_k(*self._source.features, self.rank.value)
        if self.k.value not in fitting:  # the last picture stays
            out, into = self._source.features
            self.say(
                f"`k` (={self.k.value}) must divide the layer's {into} inputs and {out} outputs and the rank "
                f"{self.rank.value}: {listed(map(str, fitting))} would"
            )
            return
        try:
            configs = self._configured()
            reports = self._source.reports(configs, **outlier, scaling=self.scaling.value, seed=self.again.value)
        except ValueError as refusal:
            self.say(refusal)
            return
        self.configs, self.reports = configs, reports
        self.limit = sensible_limit(self._source.features[1], self.rank.value, scaling=self.scaling.value)
        self.figure.show(draw_gradient_report(reports, limit=self.limit))
        self.note.value = sentence(f"{self._source.says(**outlier)} {self._limit_in_words()}")

    def _configured(self) -> dict[str, PeftConfig]:
        """LoRA and GraLoRA of the same rank, parameters and scaling; alpha is twice the rank."""
        r, k, targets = self.rank.value, self.k.value, [self._source.layer]
        return {
            "LoRA": LoraConfig(r=r, lora_alpha=2 * r, target_modules=targets),
            f"GraLoRA k={k}": GraloraConfig(r=r, alpha=2 * r, gralora_k=k, target_modules=targets),
        }

    def _limit_in_words(self) -> str:
        if self.limit == LIMIT:
            return f"“Off” is by more than {LIMIT:g} times."
        usual = usual_deviation(self._source.features[1], self.rank.value)
        return (
            f"With rank {self.rank.value} every channel is about {usual:.2g} times off even without an "
            f"outlier, so “off” is by more than {self.limit:.2g} times here, not {LIMIT:g}."
        )


def _slider(kind: type, label: str, value: float, **settings: object) -> widgets.Widget:
    look = {"continuous_update": False, "style": LABEL, "layout": {"width": "355px", "margin": "2px 12px 2px 0"}}
    return kind(value=value, description=label, says=SLIDER_SAYS[label], **look, **settings)


def _first(task: str) -> tuple[Batch, str]:
    loaded = load_task(task)
    what = "images" if loaded.kind == "images" else "texts"
    return loaded.train.rows(slice(0, EXAMPLES)), f"the first {EXAMPLES} training {what} of “{loaded.title}”"
