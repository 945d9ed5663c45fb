"""PathPanel: pick the five paths of one real layer and see what they make of its weight and bias."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.glora.layer import GloraLinear
from glora_lab.adapters.glora.path_modules import init_path
from glora_lab.adapters.glora.paths import FORMS, PATHS
from glora_lab.adapters.view import adapted_layers, has_paths
from glora_lab.arguments import check_positive_int, refuse
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import LAYER, linear_layers, named_layer
from glora_lab.page.controls.example_values import FRESH, SAYS, TRAINED, ExampleValuesPanel
from glora_lab.page.controls.modes import DEFAULT, ModeControls, choice
from glora_lab.page.controls.widgets import IntSlider, layer_menu
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.given import given_model
from glora_lab.page.panel import guarded_about

from .figure import draw_path_picture
from .measure import path_picture
from .record import PathPicture

RANK_SAYS = "How wide the two thin matrices of a lora path are: the most that the term's rank can be."
FORM_SAYS = {
    "elementwise": "elementwise: W0⊙A, each entry of W0 times its own of A.",
    "product": "product: W0·A, the matrix product.",
}

RANK = 8
# Which layers a configuration is for; a rank or a mode that a pattern has for the layer is in the controls.
ELSEWHERE = ("exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters", "modules_to_save")


OFF = dict.fromkeys(DEFAULT, "none")
ALONE = {f"{path} alone": OFF | {path: mode} for path, mode in DEFAULT.items()}


class PathPanel(ExampleValuesPanel):
    """Five mode controls, rank and form over one layer; equation, heatmaps, bias bars and parameters.

    Args:
        model: the model whose layer is shown, left as it is; digits-vit by default. With a GLoRA adapter on
            it the panel starts on that adapter's own values.
        layer: a layer's name or an unambiguous end of one; the first adapted, else the first linear one.
        rank: where that slider starts, unless the model carries an adapter; at most the layer's smaller side.

    Raises:
        ValueError: for an unknown layer or an argument that cannot be.

    State: `config` (the GloraConfig that the controls say), `picture` (PathPicture), `params` (its total).
    """

    moves = MappingProxyType({"paths": {"all five": DEFAULT, **ALONE}})
    config: GloraConfig
    picture: PathPicture

    def __init__(self, model: nn.Module | None = None, layer: str | None = None, *, rank: int = RANK) -> None:
        super().__init__()
        check_positive_int("rank", rank)
        self._model = given_model(model)
        self._following = False
        found = adapted_layers(self._model).items()
        self._trained = {name: module for name, module in found if has_paths(module)}
        names = list(self._trained) or linear_layers(self._model)
        self.layer_choice = layer_menu(names, named_layer(names, layer))
        most = min(features(self._base(self.layer_choice.value)))
        if rank > most and rank != RANK:
            raise refuse("rank", rank, f"must be at most {most}, the smaller side of {self.layer_choice.value}")
        self.rank = IntSlider(rank, 1, max(32, rank), description="rank", says=RANK_SAYS, continuous_update=False)
        self.form = choice("A form", FORMS, "How A meets the weight.", FORM_SAYS)
        self._offer_values(trained=bool(self._trained))
        self.modes = ModeControls(DEFAULT, self._change_settings)
        self.figure = FigureSlot(height=430)
        self.equation, self._note = widgets.HTML(), widgets.HTML()
        self._arrange()
        self._change_place()

    @property
    def params(self) -> int:
        """Trainable parameters of the layer that is shown."""
        return self.picture.total

    def _settings(self) -> dict[str, Any]:
        own = {"layer": self.layer_choice, "rank": self.rank, "form": self.form, **self.modes.buttons}
        return {**own, "seed": self.again, "values": self.values}

    def _arrange(self) -> None:
        self.arrange(
            title=self.equation,
            controls=[self.modes, self.rank, self.layer_choice],
            more=[self.form, self.values, self.again],
            picture=[self.figure],
            below=[self._note],
        )
        self.layer_choice.observe(self._change_place, "value")
        self.values.observe(self._change_place, "value")
        self.rank.observe(self._change_settings, "value")
        self.form.observe(self._change_settings, "value")

    @guarded_about("settings")
    def _change_place(self, _: object = None) -> None:
        """Another layer or other values: the controls follow the adapter that the model carries."""
        if self.values.value == TRAINED:
            trained = self._trained[self.layer_choice.value]
            plan = trained.plans[trained.active_adapters[0]]
            self._following = True
            self.rank.max = max(self.rank.max, plan.r)
            self.rank.value, self.form.value = plan.r, plan.form
            self.modes.set_modes(plan.asked)
            self._following = False
        self._update()

    @guarded_about("settings")
    def _change_settings(self, _: object = None) -> None:
        """Another mode, rank or form: what the adapter is not is shown as an example."""
        if self._following:
            return
        self._show_example()

    def _base(self, layer: str) -> Any:
        """The linear layer itself, beneath any adapter."""
        trained = self._trained.get(layer)
        return self._model.get_submodule(layer) if trained is None else trained.get_base_layer()

    def _update(self) -> None:
        layer, values = self.layer_choice.value, self.values.value
        self.config = self._config(layer)
        if values == TRAINED:
            self.picture = path_picture(self._model, layer)
        else:
            trained = self._trained.get(layer)
            with nullcontext() if trained is None else trained.original():
                self.picture = example_picture(
                    self._base(layer), layer, self.config, fresh=values == FRESH, seed=self.again.value
                )
        self._show(values)

    def _config(self, layer: str) -> GloraConfig:
        """Of this layer alone what the controls say, and of all else what the model's own adapter was made with."""
        trained = self._trained.get(layer)
        found = None if trained is None else getattr(self._model, "peft_config", {}).get(trained.active_adapters[0])
        own = found if isinstance(found, GloraConfig) else GloraConfig()
        modes: dict[str, Any] = {f"config_{path}": mode for path, mode in self.modes.modes.items()}
        where: dict[str, Any] = {"target_modules": [layer], **dict.fromkeys(ELSEWHERE), "rank_pattern": {}}
        where |= {"path_pattern": {}, "init_weights": True, "inference_mode": False}
        return replace(own, **where, r=self.rank.value, A_form=self.form.value, **modes)

    def _show(self, values: str) -> None:
        picture = self.picture
        drawn = draw_path_picture(picture)
        self.figure.show(drawn)  # first, since a reader waits for it
        on = {path: params for path, params in picture.params.items() if picture.modes[path] != "none"}
        self.modes.show_params(on, picture.inert, picture.form)
        self._note.value = f"<b>{picture.total:,}</b> trainable parameters in this layer. {SAYS[values]}"
        self.equation.value = drawn.formula


def example_picture(target: nn.Module, layer: str, config: GloraConfig, *, fresh: bool, seed: int) -> PathPicture:
    """The picture of `target`, left as it is, as the layer of that name under `config`: a fresh adapter, or values of
    a visible size. Each path draws its own, so that switching one leaves the picture of the others as it was.
    """
    with torch.random.fork_rng(devices=[]):
        adapted = GloraLinear(target, "default", config, layer_name=layer)
        for path, module in adapted.paths("default").items():
            torch.manual_seed(len(PATHS) * seed + PATHS.index(path))
            init_path(module, path, config.A_form, adapted.in_features, no_op=fresh)
    return replace(path_picture(nn.ModuleDict({LAYER: adapted}), LAYER), layer=layer)
