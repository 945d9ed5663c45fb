"""A tuner's side of merging: every layer is asked before the first is touched, so that all are merged or none."""

from __future__ import annotations

from typing import Any, cast

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from .fast_path import set_encoder_packing
from .layer import LabLayer
from .merging import MergingLayer
from .places import places_of_tied, put_in_places
from .uncalled import Watch, WatchedLayer, disarm, watched


class MergingTuner(BaseTuner):
    """Base of LabTuner."""

    def merge_adapter(self, adapter_names: list[str] | None = None, safe_merge: bool = False) -> None:
        """As PEFT's; a layer that cannot be merged, with `safe_merge` also one that would not be finite, leaves all
        of them untouched."""
        self._check_all_mergeable(adapter_names, safe_merge)
        super().merge_adapter(adapter_names=adapter_names, safe_merge=safe_merge)

    def unmerge_adapter(self) -> None:
        """As PEFT's; a layer that cannot be unmerged leaves all of them merged."""
        self._check_all_unmergeable()
        super().unmerge_adapter()

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> Any:
        if merge:
            self._check_all_mergeable(adapter_names, safe_merge)
        else:
            self._check_all_unmergeable()
        layers = [layer for layer in self.model.modules() if isinstance(layer, LabLayer)]
        places = places_of_tied(self.model)
        plain = super()._unload_and_optionally_merge(merge, progressbar, safe_merge, adapter_names)
        for layer in layers:
            put_in_places(places, cast(nn.Module, layer), layer.base_layer)
        set_encoder_packing(self.model, WatchedLayer)
        for module in self.model.modules():
            if not any(watched(module)):
                disarm(module)
        return plain

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        """What was beneath takes the place as it is. PEFT would hand it a weight and a bias, which a whole head that
        was trained (`modules_to_save`) and a module with an adapted parameter may not have, and a layer that computes
        them would lose."""
        setattr(parent, child_name, new_module)

    def _check_all_mergeable(self, adapter_names: list[str] | None, safe_merge: bool) -> None:
        for module in self.model.modules():
            if isinstance(module, MergingLayer):
                module.check_mergeable(adapter_names, safe_merge)

    def _check_all_unmergeable(self) -> None:
        for module in self.model.modules():
            if isinstance(module, MergingLayer) and module.merged:
                module.check_writable()


def see_to_calls(model: nn.Module) -> None:
    """What can be done, and found out, about modules that do not call the adapted layers in them."""
    set_encoder_packing(model, WatchedLayer)
    watch = Watch()
    for module in model.modules():
        if isinstance(module, WatchedLayer):
            watch.add(module)
