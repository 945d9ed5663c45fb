"""What is fixed between one step of a GLoRA layer and the next: worked out once, looked up ever after.

A layer of 768 features passes a single token in a twentieth of a millisecond; every decision that is taken anew
there is seen in the time of a step.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

LOW = (torch.bfloat16, torch.float16)
Counts = tuple[tuple[str, int], ...]  # each path's letter, and how many tensors it has


class Recipe(NamedTuple):
    """How the paths of one adapter meet one layer.

    Three kinds of A: it `scales_output`, (W0⊙a)x = a⊙(W0·x), in modes vector and constant; it `changes_input`, the
    product form W0·A·x; or it is `elementwise` and low-rank, and changes W0. Work is in the precision `wide`, and is
    `full` where that is x's own: then nothing is lost where W0 and a delta are added before the product. A `slow`
    precision is one that the processor has no instructions for (precision.py).
    """

    spans: tuple[tuple[str, int, int], ...]  # each path's letter, and where its tensors start and stop
    scaling: float
    conv1d: bool  # W0 is stored as (in, out)
    wide: torch.dtype
    full: bool
    casts: bool  # some tensor of the adapter is not in the wide precision
    slow: bool
    scales_output: bool
    changes_input: bool
    elementwise: bool
    has_c: bool
    needs_x: bool  # the gradients need x
    needs_total: bool  # the gradients need ∂L/∂y summed over tokens


@functools.lru_cache(maxsize=1024)
def recipe(
    counts: Counts,
    single_a: bool,
    product: bool,
    scaling: float,
    conv1d: bool,
    dtype: torch.dtype,
    dtypes: tuple[torch.dtype, ...],
    slow: bool,
) -> Recipe:
    """`single_a`: A is one number. `dtype` is x's and W0's, `dtypes` are those of the adapter's tensors, in order."""
    spans, start = [], 0
    for letter, count in counts:
        spans.append((letter, start, start + count))
        start += count
    held = dict(counts)
    wide = functools.reduce(torch.promote_types, dtypes, torch.float32 if dtype in LOW else dtype)
    changes_input = product and "A" in held and not single_a
    elementwise = not product and held.get("A") == 2
    scales_output = "A" in held and not changes_input and not elementwise
    return Recipe(
        tuple(spans),
        scaling,
        conv1d,
        wide,
        full=wide is dtype,
        casts=any(of is not wide for of in dtypes),
        slow=slow and wide is torch.float32,
        scales_output=scales_output,
        changes_input=changes_input,
        elementwise=elementwise,
        has_c="C" in held,
        needs_x=elementwise or changes_input or held.get("B") == 2,
        needs_total=scales_output or bool({"C", "D", "E"} & held.keys()),
    )
