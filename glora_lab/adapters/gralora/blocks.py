"""GraLoRA's blocks as plain facts: which k fit a layer, what shapes the factors have, what they cost.

ΔW is a k×k grid of blocks of rank r/k. Pure Python, no tensors. Source: arXiv 2505.20355, with PEFT's
`tuners/gralora` for the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

from glora_lab.wording import few, within

MOST_LINES = 8  # of layers alike, in a message
ADVICE = (
    "Give these layers a k of their own in `k_pattern`, leave them out with `exclude_modules`, or, where it is "
    "the features that k does not divide, with on_indivisible='skip'."
)


def fitting_k(*sizes: int) -> list[int]:
    """Every number of blocks per side that divides all `sizes` (features and ranks)."""
    common = gcd(*sizes)
    return [k for k in range(1, common + 1) if common % k == 0]


@dataclass(frozen=True)
class BlockPlan:
    """What one adapter puts on one layer, settled before any parameter exists.

    `skipped`: the layer is left as it is, for k does not divide its features and the configuration says so. `lead` are
    the axes before a parameter's matrices, (E,) for experts or (), and None for a layer.
    """

    layer: str
    in_features: int
    out_features: int
    r: int
    hybrid_r: int
    k: int
    scaling: float
    skipped: bool = False
    lead: tuple[int, ...] | None = None

    @property
    def fits(self) -> bool:
        return not (self.in_features % self.k or self.out_features % self.k or self.r % self.k)

    @property
    def fitting_k(self) -> list[int]:
        return fitting_k(self.in_features, self.out_features, self.r)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Container → shape, with PEFT's names and layout; empty for a layer that is skipped."""
        if self.skipped:
            return {}
        shapes: dict[str, tuple[int, ...]] = {
            "gralora_A": (self.k, self.in_features // self.k, self.r),  # (n, i, m·s)
            "gralora_B": (self.k, self.r, self.out_features // self.k),  # (m, n·s, o)
        }
        if self.hybrid_r:
            shapes["gralora_A_general"] = (self.hybrid_r, self.in_features)
            shapes["gralora_B_general"] = (self.out_features, self.hybrid_r)
        return {name: (*self.lead, *shape) for name, shape in shapes.items()} if self.lead else shapes

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name → shape, as a checkpoint names them: "gralora_A", "gralora_A_general.weight".

        Raises:
            ValueError: where k does not divide the features and the rank.
        """
        check_fit([self])
        return {f"{name}.weight" if "general" in name else name: shape for name, shape in self.shapes().items()}

    @property
    def total(self) -> int:
        """Parameters: (r + hybrid_r)(in + out), as LoRA's of that rank, whatever k is."""
        return sum(prod(shape) for shape in self.shapes().values())


def check_fit(plans: Sequence[BlockPlan], gralora_k: int | None = None) -> None:
    """Refuse plans whose k does not divide features and rank: all of them in one error, with the k that would fit.

    Raises:
        ValueError: naming every such layer.
    """
    bad = [plan for plan in plans if not plan.skipped and not plan.fits]
    if not bad:
        return
    alike: dict[tuple[int, int, int, int], list[BlockPlan]] = {}
    for plan in bad:
        alike.setdefault((plan.k, plan.in_features, plan.out_features, plan.r), []).append(plan)
    lines = []
    for (k, i, o, r), group in alike.items():
        fit = f"k that fit: {_listed(group[0].fitting_k)}"
        lines.append(f"{few([plan.layer for plan in group], 20)} (k {k}, {i} → {o} features, r {r}; {fit})")
    if len(alike) > 1:
        sizes = {size for plan in bad for size in (plan.in_features, plan.out_features, plan.r)}
        lines.append(f"k that fit all of these: {_listed(fitting_k(*sizes))}")
    general = any(plan.k == gralora_k for plan in bad)
    setting = f"`gralora_k` (={gralora_k})" if general else f"`k_pattern` (k={bad[0].k})" if gralora_k else "its k"
    first = bad[0]
    sides = {"in_features": first.in_features, "out_features": first.out_features, "r": first.r}
    words = next(indivisible(name, size, first.k) for name, size in sides.items() if size % first.k)
    named = "; ".join(lines[:MOST_LINES]) + f"; and {len(lines) - MOST_LINES} more" * (len(lines) > MOST_LINES)
    raise ValueError(
        within(
            f"{words}: {setting} must divide the features and the rank of a layer, and does not in {named}. {ADVICE}"
        )
    )


def indivisible(name: str, size: int, k: int) -> str:
    """PEFT's own words for it, which its users look for."""
    return f"{name} should be divisible by gralora_k, but got {size} and {k}"


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
