"""GLoRA's layer: a linear layer with five trainable paths over frozen weights.

The forward pass asks the base once and adds what the paths contribute; the formula itself is in formula.py,
shapes and inert paths are settled in paths.py, merging is in tuner/merging.py, and the pass itself in tuner/layer.py.
What is left here is which adapter holds what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import FrozenBase, FunctionBase, float_dtype, frozen_base
from glora_lab.adapters.base.kind import in_words
from glora_lab.adapters.base.offload import offload_hook, onloaded
from glora_lab.adapters.tuner.factors import Blocks, Term, beside
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.module import LabModule
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.adapters.tuner.terms import add

from .config import GloraConfig
from .factors import b_factors, nothing, product_a_factors, terms_of
from .formula import add_delta, bias_terms, is_dropping, output, weight_terms
from .kept_bias import few_tokens
from .path_modules import LowRankPath, Path, Paths, SinglePath, build_path, init_path
from .paths import PATHS, LayerPlan
from .plain_base import applies


class GloraLayer(LabLayer):
    """The five paths of any number of adapters on one layer (arXiv 2306.07967).

    Parameters are `glora_A[name].Xd` and `.Xu` in mode "lora", `.X` in "vector" and "constant". The products Xd @ Xu
    are of (out, r) and (r, in) for A and B, of (in, r) and (r, 1) for C; for all shapes see
    `glora_lab.adapters.glora.paths`. A path that is off has no entry. `plans[name]` says what the adapter put here, and
    which paths are inert. PEFT makes the layer.

    Args:
        base_layer: the frozen layer beneath.
        layer_name: its name in the model, which patterns are matched with.
    """

    method = "GLoRA"
    prefix = GloraConfig.prefix
    path_names = PATHS
    adapter_layer_names = ("glora_A", "glora_B", "glora_C", "glora_D", "glora_E")
    other_param_names = ("r", "scaling", "plans", "glora_dropout")
    plans: dict[str, LayerPlan]

    def make_tensors(self, adapter_name: str, plan: LayerPlan, *, no_op: bool) -> None:
        for letter in PATHS:
            if shapes := plan.shapes(letter):
                modules = getattr(self, f"glora_{letter}")
                modules[adapter_name] = build_path(shapes, len(plan.lead or ()))
                init_path(modules[adapter_name], letter, plan.form, self.in_features, no_op=no_op)

    def carried(self) -> list[str]:
        return list(self.plans)

    def carries(self, adapter_name: str) -> bool:
        return adapter_name in self.plans

    def path_of(self, container: str) -> str:
        return container[-1]

    def modes(self, adapter_name: str) -> dict[str, str]:
        return dict(self.plans[adapter_name].asked)

    def inert(self, adapter_name: str) -> dict[str, str]:
        return dict(self.plans[adapter_name].inert)

    def lora_plus(self, adapter_name: str) -> Iterator[tuple[nn.Parameter, bool]]:
        """Xd starts at zero in every path that is a product; a vector or a constant has no other factor."""
        for path in self.paths(adapter_name).values():
            for name, parameter in path.named_parameters():
                yield parameter, isinstance(path, LowRankPath) and name == "Xd"

    def stock_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """With the buffers of zeros that stock PEFT has for paths that are off."""
        out, features = self.out_features, self.in_features
        shapes = {"A": (out, features), "B": (out, features), "C": (features, 1), "D": (out,), "E": (out,)}
        off = [path for path, mode in self.plans[adapter_name].modes.items() if mode == "none"]
        zeros = {f"glora_{path}.zeros": torch.zeros(shapes[path], dtype=float_dtype(self.innermost)) for path in off}
        return {**self.tensors(adapter_name), **zeros}

    def contributes(self, adapter_name: str) -> bool:
        return adapter_name in self.plans and bool(self.paths(adapter_name))

    def reads_base(self, adapter_name: str) -> bool:
        return any(self.plans[adapter_name].modes[path] != "none" for path in "ACD")

    def fused_forward(self, x: Tensor, adapter_names: Sequence[str]) -> Tensor | None:
        names = [name for name in adapter_names if name in self.plans]
        if len(names) != 1:
            return None
        name, layer = names[0], self.base_layer
        offloaded = offload_hook(layer) is not None
        with onloaded([layer]) if offloaded else nullcontext():
            paths = self.paths(name)
            dropped = ("A" in paths or "B" in paths) and is_dropping(self.dropout_of(name))
            if not paths or dropped or x.is_meta or not applies(layer, x, offloaded):
                return None
            if self.outer:
                self.check_base(self.reads_base(name))
            form, scaling = self.plans[name].form, self.scaling[name]
            factor, out = self.factor(name), None
            if factor == 1 or not any(isinstance(path, SinglePath) for path in paths.values()):
                out = few_tokens(paths, x, layer, self.frozen_base, form=form, scaling=scaling)
            return output(paths, x, layer, form=form, scaling=scaling, factor=factor) if out is None else out

    def add_delta(self, total: Tensor, x: Tensor, result: Tensor, adapter_name: str) -> Tensor:
        if offload_hook(self.innermost) is None:  # a context would break the graph of torch.compile
            return self._add_delta(total, x, result, adapter_name)
        with onloaded([self.innermost]):  # the paths multiply W0 and b0 themselves
            return self._add_delta(total, x, result, adapter_name)

    def _add_delta(self, total: Tensor, x: Tensor, result: Tensor, name: str) -> Tensor:
        plan, base = self.plans[name], self.frozen_base()
        if plan.elementwise and isinstance(base, FunctionBase) and base.layer is self.innermost:
            raise ValueError(by_entry_of_a_function(f"layer {self.layer_name!r}", self.innermost))
        how: dict[str, Any] = {"form": plan.form, "scaling": self.scaling[name], "factor": self.factor(name)}
        return add_delta(total, self.paths(name), x, result, base, **how, dropout=self.dropout_of(name))

    def paths(self, adapter_name: str) -> Paths:
        """Path letter → module, for the paths of this adapter that are on."""
        modules = cast(
            nn.Module, self
        )._modules  # a look-up through the attribute would cost as much as a small product
        held = {letter: cast(nn.Module, modules[f"glora_{letter}"])._modules for letter in PATHS}
        return {letter: cast(Path, of[adapter_name]) for letter, of in held.items() if adapter_name in of}

    def frozen_base(self, dtype: torch.dtype | None = None) -> FrozenBase:
        return frozen_base(self.base_layer, self.innermost, dtype)

    def weight_terms(self, adapter_name: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """{"A": W0⊙A, "B": B} as (…, out, in), for the paths that are on, from the original W0, merged or not."""
        with self.original():
            base, plan = self.frozen_base(dtype), self.plans[adapter_name]
            terms = weight_terms(self.paths(adapter_name), base, form=plan.form, scaling=plan.scaling)
            terms = self._scaled(terms, adapter_name)
            shape = (*(self.lead or ()), self.out_features, self.in_features)
            return {letter: term.expand(shape) for letter, term in terms.items()}

    def bias_terms(self, adapter_name: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """{"C": W0·C, "D": b0⊙D, "E": E} as (out,), for the paths that are on."""
        with self.original():
            base, plan = self.frozen_base(dtype), self.plans[adapter_name]
            terms = self._scaled(bias_terms(self.paths(adapter_name), base, scaling=plan.scaling), adapter_name)
            return {letter: term.expand(self.out_features) for letter, term in terms.items()}

    def _scaled(self, terms: dict[str, Tensor], adapter_name: str) -> dict[str, Tensor]:
        factor = self.factor(adapter_name)
        return terms if factor == 1 else {letter: term * factor for letter, term in terms.items()}

    def path_terms(self, adapter_name: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        return {**self.weight_terms(adapter_name, dtype), **self.bias_terms(adapter_name, dtype)}

    def terms(self, adapter_name: str) -> dict[str, Term | None]:
        factor, scaling, plan = self.factor(adapter_name), self.scaling[adapter_name], self.plans[adapter_name]
        # `scaling` is that of low-rank products alone
        tensors = {n: t * factor if n.endswith(".X") else t for n, t in self.tensors(adapter_name).items()}
        with self.original():
            shape = self.out_features, self.in_features
            return terms_of(tensors, self.frozen_base(torch.float64), form=plan.form, scaling=scaling, shape=shape)

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        terms = [term.to(dtype) for term in self.weight_terms(adapter_name, dtype).values()]
        if terms:
            return add(terms)
        zero = torch.zeros((), dtype=dtype or float_dtype(self.innermost), device=self.innermost.weight.device)
        return zero.expand(*(self.lead or ()), self.out_features, self.in_features)  # takes no memory

    def bias_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor | None:
        terms = [term.to(dtype) for term in self.bias_terms(adapter_name, dtype).values()]
        return add(terms) if terms else None

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        paths, plan, scaling = self.paths(adapter_name), self.plans[adapter_name], self.scaling[adapter_name]
        a, b = paths.get("A"), paths.get("B")
        sizes = {"out_features": self.out_features, "in_features": self.in_features}
        products = []
        if a is not None:
            if not (isinstance(a, LowRankPath) and plan.form == "product"):
                return None
            with self.original():
                products.append(product_a_factors(a, self.frozen_base(torch.float64), scaling=scaling))
        if b is not None:
            one = b_factors(b, scaling=scaling, **sizes)
            # of a vector or a constant, `scaling` is no part but its factor is
            products.append(one if isinstance(b, LowRankPath) else one._replace(scaling=self.factor(adapter_name)))
        return beside(products) if products else nothing(self.innermost.weight, self.lead or (), **sizes)


def by_entry_of_a_function(layers: str, innermost: nn.Module) -> str:
    """Why elementwise lora-A is refused over `innermost`."""
    return (
        f"Path A in mode lora multiplies W0 entry by entry, and {layers} compute(s) more than x·W0ᵀ + b0 "
        f"({in_words(innermost)}), so that the weight need not be W0: use A_form='product', which multiplies what the "
        "layer computes, or config_A='vector', 'constant' or 'none'."
    )


class GloraLinear(LabModule, GloraLayer):
    """GLoRA over a linear layer, x (…, in) → (…, out): x·W_effᵀ + b_eff.

    Args:
        base_layer: the frozen layer, `nn.Linear`, transformers' Conv1D or a quantised one.
        adapter_name: the first adapter's name.
        config: its GloraConfig.
        layer_name: the layer's name in the model, which patterns are matched with.

    Raises:
        ValueError: where the configuration does not fit the layer.
    """


class GloraParameter(ParameterLayer, GloraLayer):
    """GLoRA over a parameter of a module: W_eff = W0 + W0⊙A + B, for each expert its own."""
