"""What our two tuners share: injection that either succeeds or leaves the model as it was, and mixed batches.

PEFT replaces layers one by one and finds a bad one half-way. We plan first: every target is checked and every
layer's parameters are counted before a module is touched; whatever still fails later (in PEFT's own steps, such
as `modules_to_save`) is rolled back.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils.integrations import init_empty_weights
from peft.utils.other import AuxiliaryTrainingWrapper, _get_submodules
from torch import nn

from glora_lab.adapters.base.four_bits import keep_differentiable
from glora_lab.adapters.base.frozen import SUPPORTED
from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.base.parameter import ParameterAsLayer
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER
from glora_lab.arguments import refuse
from glora_lab.arguments import some as some
from glora_lab.wording import shown

from .config import LabConfig
from .experts import experts_left_out, hint_at_experts
from .fast_path import be_called
from .many_layers import LinearTuner, name_all
from .merging import MergingLayer
from .merging_model import MergingTuner, see_to_calls
from .mixed_batch import adapter_names_as_hooks, repeats_in_generate
from .names import check_name, without_name
from .parameter_layer import ParameterLayer
from .parameter_targets import (
    check_alike,
    check_parameters,
    chosen_parameters,
    unmatched_parameters,
    unsaid_of_patterns,
)
from .places import Place, Places, places_of_tied, put_in_places
from .snapshot import Snapshot
from .targets import check_matching, innermost_of, narrow, outside, pattern_key
from .unfit import names_layers, unfit_layers, with_reasons
from .weighted import WeighingTuner


class LabTuner(MergingTuner, WeighingTuner, LinearTuner):
    """Base of GloraModel and GraloraModel."""

    config_class: type[LabConfig]
    places: Places | None = None  # while an adapter is put on: those of modules with several names
    # over a layer, or a parameter of a module, with an adapter's name, its configuration and the layer's name
    linear_layer: type[Any]
    parameter_layer: type[Any]

    @ordinary_mode()
    def __init__(self, model: nn.Module, peft_config: Any, *args: Any, **kwargs: Any) -> None:
        held = getattr(model, "peft_config", None)  # PEFT writes into it where the model carries an adapter already
        before = dict(held) if isinstance(held, dict) else None
        try:
            super().__init__(model, self._as_ours(peft_config), *args, **kwargs)
        except BaseException:
            if isinstance(held, dict) and before is not None:
                held.clear()
                held.update(before)
            raise

    def _as_ours(self, config: Any) -> Any:
        """PEFT's own configurations become ours, which is what `use_in_peft` asks for."""
        if isinstance(config, dict):
            return {name: self._as_ours(one) for name, one in config.items()}
        return self.config_class.from_stock(config) if type(config) is self.config_class.stock_class else config

    @ordinary_mode()
    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """As PEFT's; a ValueError, or any other error, leaves the model as it was."""
        before = Snapshot(self, model)
        self.places = places_of_tied(model)
        try:
            config: Any = self.peft_config[adapter_name]
            check_name(adapter_name, self.prefix)
            config.validate()
            experts = experts_left_out(model, config)  # before names are put in the place of "all-linear"
            if kwargs.get("state_dict") is None:
                self.check_targets(model, config)
            with unsaid_of_patterns(config):
                super().inject_adapter(model, adapter_name, *args, **kwargs)
            self.report(adapter_name)  # within, for a warning may be an error
            self._report_unmatched(model, config)
            if experts:
                warnings.warn(experts, stacklevel=2)
            if config.bias != "none" and not PEFT_ASKS_THE_TUNER:
                message = f"bias={config.bias!r}: this PEFT trains biases but does not save them; 0.21 does"
                warnings.warn(message, stacklevel=2)
            keep_differentiable(model)
            see_to_calls(model)
        except BaseException:
            before.restore()
            self.peft_config.pop(adapter_name)
            raise
        finally:
            name_all(model)
            self.places = None

    def check_targets(self, model: nn.Module, config: Any) -> dict[str, nn.Module]:
        """The `targets`; refuses a configuration that this model cannot carry, before anything is changed.

        Layers that no adapter can act on are refused where they are named; where they were chosen for being linear,
        or by PEFT's defaults, `config` is made to leave them out.
        """
        targets = self.targets(model, config)
        left_out = {} if names_layers(config) else unfit_layers(model, targets)
        targets = {name: innermost for name, innermost in targets.items() if name not in left_out}
        if not targets:
            raise refuse(
                "target_modules",
                _shown(config.target_modules),
                f"matches no layer: {_not_found(model, config)} {experts_left_out(model, config)}".rstrip(),
            )
        known_types = (*SUPPORTED, ParameterAsLayer)
        unsupported = {name: innermost for name, innermost in targets.items() if not isinstance(innermost, known_types)}
        if unsupported:
            listed = ", ".join(f"{name} ({type(innermost).__name__})" for name, innermost in unsupported.items())
            known = f"Supported are nn.Linear, quantised or not, and Conv1D{hint_at_experts(unsupported)}"
            rule = f"matches layers of a type that is not supported: {listed}. {known}"
            raise refuse("target_modules", _shown(config.target_modules), rule)
        if unfit := unfit_layers(model, targets):
            rule = f"names layers that no adapter can act on: {with_reasons(unfit)}. Put them into `exclude_modules`"
            raise refuse("target_modules", _shown(config.target_modules), rule)
        chosen = chosen_parameters(model, config)
        check_parameters(model, chosen, targets.keys() - chosen.keys(), self.parameter_layer)
        check_alike(model, self.parameters_of(model, config))
        self.check_layers(model, targets, config)
        if left_out:
            layers = [name for name, innermost in targets.items() if not isinstance(innermost, ParameterAsLayer)]
            narrow(config, layers, model, (BaseTunerLayer, AuxiliaryTrainingWrapper))
            warnings.warn(f"Layers left as they are: {with_reasons(left_out)}.", RuntimeWarning, stacklevel=3)
        return targets

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """PEFT takes the name away at the end of any key: of an adapter called "bias", from every bias."""
        return without_name(key, adapter_name)

    def _create_and_replace(  # type: ignore[override]
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **kwargs: Any,
    ) -> None:
        if self.skips(peft_config, current_key, innermost_of(target)):
            return
        if isinstance(target, self.linear_layer):
            target.update_layer(adapter_name, peft_config)
        else:
            self.put(self.linear_layer(target, adapter_name, peft_config, current_key), parent, target_name)

    def put(self, layer: MergingLayer, parent: nn.Module, name: str) -> None:
        """The new layer in its place. PEFT's _replace_module would move it to its base's device, which may be meta."""
        setattr(parent, name, layer)
        put_in_places(self.places or {}, layer.base_layer, cast(nn.Module, layer))
        layer.place = Place(parent, name)
        be_called(cast(nn.Module, layer), parent)

    def check_layers(self, model: nn.Module, targets: dict[str, nn.Module], config: Any) -> None:
        """Hook for rules over all layers together; ValueError where one is broken."""

    def report(self, adapter_name: str) -> None:
        """Hook for one warning after a successful injection."""

    def _report_unmatched(self, model: nn.Module, config: Any) -> None:
        """PEFT's warning about keys of `rank_pattern` that match nothing, for the patterns it does not know."""
        if vain := unmatched_parameters(model, config):
            said = f"The following target_parameters did not match any parameter and were ignored: {vain}."
            warnings.warn(said, RuntimeWarning, stacklevel=3)
        theirs = ("rank_pattern", "alpha_pattern") if config.target_parameters else ()
        for name in (*config.own_patterns, *theirs):
            keys = set(getattr(config, name))
            if not keys:
                continue
            layers = self.targets(model, config)
            unmatched = sorted(key for key in keys if not any(pattern_key([key], n) == key for n in layers))
            if unmatched:
                said = (
                    f"The following {name} keys did not match any targeted module and were ignored: {shown(unmatched)}."
                )
                warnings.warn(said, RuntimeWarning, stacklevel=3)

    def trains_beside(self, model: nn.Module, targets: dict[str, nn.Module], config: Any) -> bool:
        """Whether the configuration trains anything that is not in an adapter: biases of the base, or whole modules."""
        if config.bias == "all" and any(name.rpartition(".")[2] == "bias" for name, _ in model.named_parameters()):
            return True
        if config.bias == f"{self.prefix}only" and any(getattr(t, "bias", None) is not None for t in targets.values()):
            return True
        whole = tuple(config.modules_to_save or ())
        return bool(whole) and any(
            n.endswith(whole) and next(m.parameters(), None) is not None for n, m in model.named_modules()
        )

    def targets(self, model: nn.Module, config: Any) -> dict[str, Any]:
        """Name → innermost module of each layer, or parameter, that `config` selects, by PEFT's own rules."""
        inner, parameters = dict(outside(model, BaseTunerLayer)), chosen_parameters(model, config)
        check_matching(config, [*inner, *parameters])
        config = self._prepare_adapter_config(copy.copy(config), self.get_model_config(model))
        config = _maybe_include_all_linear_layers(config, model)
        layers = {
            name: innermost_of(module)
            for name, module in inner.items()
            if self._check_target_module_exists(config, name)
        }
        return {**layers, **parameters}

    def skips(self, config: Any, name: str, innermost: Any) -> bool:
        """Whether this layer or parameter, though selected, is left as it is."""
        return False

    def parameters_of(self, model: nn.Module, config: Any) -> dict[str, ParameterAsLayer]:
        """Name → parameter, for those that `config` puts an adapter on."""
        chosen = chosen_parameters(model, config)
        return {name: innermost for name, innermost in chosen.items() if not self.skips(config, name, innermost)}

    def _prepare_adapter_config(self, peft_config: Any, model_config: Any) -> Any:
        """As PEFT's; an architecture without default targets needs none where parameters are named."""
        known = model_config.get("model_type") in self.target_module_mapping
        if peft_config.target_modules is None and peft_config.target_parameters and not known:
            return peft_config
        return super()._prepare_adapter_config(peft_config, model_config)

    def _inject_parameters(
        self, peft_config: Any, model: nn.Module, adapter_name: str, low_cpu_mem_usage: bool
    ) -> list[str]:
        """As PEFT's, which knows no wrapper but LoRA's."""
        chosen = self.parameters_of(model, peft_config)
        with init_empty_weights() if low_cpu_mem_usage else nullcontext():
            for name in chosen:
                module, _, parameter = name.rpartition(".")
                parent, held, own_name = _get_submodules(model, module)
                wrapper = held
                while isinstance(wrapper, ParameterLayer) and wrapper.parameter_name != parameter:
                    wrapper = wrapper.base_layer
                if isinstance(wrapper, ParameterLayer):
                    wrapper.update_layer(adapter_name, peft_config)
                else:
                    self.put(self.parameter_layer(held, adapter_name, peft_config, name), parent, own_name)
        known = self.targeted_parameter_names
        known += [name for name in chosen if name not in known]
        return list(chosen)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        names = kwargs.pop("adapter_names", None)
        if names is None:
            yield
            return
        repeats = repeats_in_generate(self, args, kwargs)
        with adapter_names_as_hooks(self, self.tuner_layer_cls, names, set(self.peft_config), repeats):
            yield


def _shown(modules: Any) -> Any:
    """A setting of module names as it was written: the configuration keeps a list as a set."""
    return sorted(modules) if isinstance(modules, set) else modules


def _not_found(model: nn.Module, config: Any) -> str:
    """PEFT's own words, then what could have been meant and what else narrows the choice."""
    narrowing = ("exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern")
    others = [f"{name}={_shown(getattr(config, name))!r}" for name in narrowing if getattr(config, name)]
    others_apart = outside(model, BaseTunerLayer, AuxiliaryTrainingWrapper)
    linear = {name.rpartition(".")[2] for name, m in others_apart if isinstance(m, (*SUPPORTED, BaseTunerLayer))}
    return (
        "not found in the base model"
        + (f" (narrowed by {', '.join(others)})" if others else "")
        + f". Its linear layers are called {', '.join(sorted(linear)) or '(it has none)'}."
    )
