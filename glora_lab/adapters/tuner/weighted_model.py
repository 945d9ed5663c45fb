"""A tuner's side of `add_weighted_adapter`: every sum is made before anything changes, and its shapes make the
configuration of the new adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper

from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.arguments import refuse

from .targets import choose
from .weighted import Request, Sums, check_request, fill


class WeighingTuner(BaseTuner):
    """A subclass says how its adapters add up on one layer, and what configuration fits the sums."""

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
        svd_clamp: float | None = None,
        svd_full_matrices: bool = True,
        svd_driver: str | None = None,
        density: float | None = None,
        majority_sign_method: str = "total",
    ) -> None:
        """Add a new adapter, frozen and not active, that is the weighted sum of others. See weighted.py.

        Args:
            combination_type: "cat" puts the ranks side by side, and is exact; "svd" brings the sum to `svd_rank`
                (None: the largest rank among the adapters), which is exact up to that rank; "linear" adds factor
                to factor, which is exact for a single adapter, and for paths without a lora.
            svd_driver: as torch.linalg.svd takes it, on CUDA.
            svd_clamp, svd_full_matrices, density, majority_sign_method: PEFT's, for what is not done here.

        Raises:
            ValueError: for a bad argument, or adapters that cannot be added up in this way; nothing has changed.
        """
        if svd_clamp is not None:
            raise refuse("svd_clamp", svd_clamp, "must be None: factors are not cut off here")
        self._add_sum(
            check_request(self.peft_config, adapters, weights, combination_type, svd_rank, svd_driver), adapter_name
        )

    @ordinary_mode()
    def _add_sum(self, request: Request, adapter_name: str) -> None:
        if adapter_name in self.peft_config:
            raise refuse("adapter_name", adapter_name, "is the name of an adapter that exists already")
        layers: dict[str, Any] = {
            name: layer
            for name, layer in self.model.named_modules()
            if isinstance(layer, self.tuner_layer_cls) and request.parts(layer)
        }
        for name, layer in layers.items():
            if layer.outer:
                raise refuse("adapters", list(request.adapters), f"lie beneath another adapter in layer {name!r}")
        sums = {name: self.weighted(name, layer, request) for name, layer in layers.items()}
        config = self.config_of_sums(request, layers, sums)
        choose(config, layers, self.model, (BaseTunerLayer, AuxiliaryTrainingWrapper))
        self.peft_config[adapter_name] = config
        self.inject_adapter(self.model, adapter_name)
        self.set_requires_grad(adapter_name, False)
        for name, layer in layers.items():
            fill(layer, adapter_name, sums[name])

    def weighted(self, name: str, layer: Any, request: Request) -> Sums:
        """The tensors of the weighted sum on one layer, by name as in a checkpoint."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its adapters add up")

    def config_of_sums(self, request: Request, layers: Mapping[str, Any], sums: Mapping[str, Sums]) -> Any:
        """The configuration that puts tensors of these shapes on these layers, and scales them by 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its adapters add up")
