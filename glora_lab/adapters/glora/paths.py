"""GLoRA's five paths as plain facts: which modes each takes, what shapes they need, what they cost.

    W_eff = W0 + W0⊙A + B            b_eff = b0 + b0⊙D + E + W0·C

Pure Python, no tensors: the layer builds its parameters from these shapes and every count in the
laboratory sums them, so a picture and a layer cannot disagree. Source: arXiv 2306.07967, and the
authors' layer (Arnav0400/ViT-Slim, folder GLoRA), which multiplies A elementwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

PATHS = ("A", "B", "C", "D", "E")
MODES: Mapping[str, tuple[str, ...]] = {
    "A": ("lora", "vector", "constant", "none"),
    "B": ("lora", "vector", "constant", "none"),
    "C": ("lora", "vector", "none"),
    "D": ("vector", "constant", "none"),
    "E": ("vector", "constant", "none"),
}
FORMS = ("elementwise", "product")

Shapes = dict[str, tuple[int, ...]]


def path_shapes(
    path: str, mode: str, *, out_features: int, in_features: int, r: int, form: str = "elementwise"
) -> Shapes:
    """Parameter name → shape for one path, with PEFT's names and layout.

    `lora` is Xd @ Xu, `vector` and `constant` are a single X, `none` has nothing. A is (out, in), but
    (in, in) in the product form W0·A, where its vector is the diagonal of A, one scale per input channel.
    """
    rows = in_features if path == "C" or (path == "A" and form == "product") else out_features
    columns = 1 if path == "C" else in_features
    if mode == "lora":
        return {"Xd": (rows, r), "Xu": (r, columns)}
    if mode == "vector":
        return {"X": (rows,) if path in "DE" else (rows, 1)}
    return {"X": (1,)} if mode == "constant" else {}


def inert_reason(path: str, *, has_bias: bool, bias_free: str, is_parameter: bool = False) -> str:
    """Why a path can do nothing in this layer, or an empty string where it works."""
    if path in "AB" or (has_bias and not is_parameter):
        return ""
    if is_parameter:
        return "target_parameters adapts a weight alone"
    if path == "D":
        return "the layer has no bias, so b0⊙D is zero"
    return "" if bias_free == "add" else 'the layer has no bias and bias_free="drop" adds none'


@dataclass(frozen=True)
class LayerPlan:
    """What one adapter puts on one layer, settled before any parameter exists.

    `modes` has every path, with `none` for those that are off or inert; `asked` is what the configuration
    wanted and `inert` says, per path, why it is not done. `scaling` multiplies the low-rank products. `lead` are the
    axes before a parameter's matrices, (E,) for experts or (), and None for a layer.
    """

    layer: str
    in_features: int
    out_features: int
    r: int
    scaling: float
    form: str
    asked: Mapping[str, str]
    modes: Mapping[str, str]
    inert: Mapping[str, str]
    lead: tuple[int, ...] | None = None

    def shapes(self, path: str) -> Shapes:
        shapes = path_shapes(
            path,
            self.modes[path],
            out_features=self.out_features,
            in_features=self.in_features,
            r=self.r,
            form=self.form,
        )
        return {name: (*self.lead, *shape) for name, shape in shapes.items()} if self.lead else shapes

    def tensors(self) -> Shapes:
        """Name → shape of all paths' parameters, as a checkpoint names them: "glora_A.Xd"."""
        return {f"glora_{path}.{name}": shape for path in PATHS for name, shape in self.shapes(path).items()}

    def params(self, path: str) -> int:
        return sum(prod(shape) for shape in self.shapes(path).values())

    @property
    def elementwise(self) -> bool:
        """Whether A is W0⊙(Xd·Xu), the one term that needs W0 as a matrix."""
        return self.modes["A"] == "lora" and self.form == "elementwise"

    @property
    def total(self) -> int:
        return sum(self.params(path) for path in PATHS)
