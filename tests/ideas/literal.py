"""Records written out by hand: what the figures are tested with, small enough to add up in one's head."""

from __future__ import annotations

import numpy as np

from glora_lab.records import PathBudget, PathCount, PathPicture, Predictions, Run, Step

NO_BIAS = "the layer has no bias, so b0⊙D is zero"


def picture(**changes: object) -> PathPicture:
    """A 2×3 layer with every path on: W0⊙A is a tenth of W0, B is 0.05 in the first row."""
    w0 = np.array([[1.0, 0.0, -2.0], [0.0, 4.0, 0.0]])
    w0a, b = 0.1 * w0, np.array([[0.05, 0.05, 0.05], [0.0, 0.0, 0.0]])
    b0, b0d, e, w0c = (
        np.array([1.0, -1.0]),
        np.array([0.5, 0.0]),
        np.array([0.0, 0.25]),
        np.array([-0.5, 0.5]),
    )
    fields = {
        "layer": "encoder.0.query",
        "form": "elementwise",
        "modes": {"A": "constant", "B": "vector", "C": "lora", "D": "vector", "E": "vector"},
        "params": {"A": 1, "B": 2, "C": 16, "D": 2, "E": 2},
        "inert": {},
        "w0": w0,
        "w0a": w0a,
        "b": b,
        "w_eff": w0 + w0a + b,
        "b0": b0,
        "b0d": b0d,
        "e": e,
        "w0c": w0c,
        "b_eff": b0 + b0d + e + w0c,
        "rank_w0a": 2,
        "rank_b": 1,
    }
    return PathPicture(**{**fields, **changes})  # type: ignore[arg-type]


def fresh_picture() -> PathPicture:
    """The same layer with an adapter that has not been trained: every term is zero."""
    whole, zeros, none = picture(), np.zeros((2, 3)), np.zeros(2)
    return picture(
        **{
            "w0a": zeros,
            "b": zeros,
            "w_eff": whole.w0,
            "b0d": none,
            "e": none,
            "w0c": none,
            "b_eff": whole.b0,
        },
        **{"rank_w0a": 0, "rank_b": 0},
    )


def glora_budget() -> PathBudget:
    """Two layers: one with a bias, one without, where D is inert."""
    rows = (
        PathCount("block.0.query", "A", "lora", 40),
        PathCount("block.0.query", "B", "lora", 40),
        PathCount("block.0.query", "D", "vector", 10),
        PathCount("block.0.value", "A", "lora", 20),
        PathCount("block.0.value", "B", "lora", 20),
        PathCount("block.0.value", "D", "vector", 0, NO_BIAS),
    )
    return PathBudget(rows, method="GLoRA", model="tiny", model_params=1300)


def lora_budget() -> PathBudget:
    rows = (PathCount("block.0.query", "B", "lora", 40), PathCount("block.0.value", "B", "lora", 20))
    return PathBudget(rows, method="LoRA", model="tiny", model_params=1300)


def deep_budget(method: str = "GLoRA", layers: int = 80) -> PathBudget:
    """Layers as in a large language model: two kinds in each block, C inert everywhere."""
    sizes = {"self_attn.q_proj": 100, "mlp.up_proj": 300}
    rows = tuple(
        row
        for n in range(layers)
        for kind, size in sizes.items()
        for row in (
            PathCount(f"model.layers.{n}.{kind}", "A", "lora", size),
            PathCount(f"model.layers.{n}.{kind}", "B", "lora", size),
            PathCount(f"model.layers.{n}.{kind}", "C", "vector", 0, "the layer has no bias"),
        )
    )
    return PathBudget(rows, method=method, model="deep", model_params=64_000 * layers)


STEPS = (
    Step(1, 2.5, 0.2, 0.1),
    Step(2, 2.0, 0.2, 0.2, measured=False),
    Step(3, 1.0, 0.6, 0.3),
)

RUNS = (
    Run("probe", 0, 0.5, 1.0),
    Run("LoRA", 7000, 0.70, 2.0),
    Run("LoRA", 7000, 0.76, 2.0),
    Run("all paths", 19000, 0.75, 3.0),
)


def predictions() -> Predictions:
    """Three images of 2×2: the first and the last are read right."""
    images = np.arange(12, dtype=float).reshape(3, 2, 2)
    return Predictions(images, np.array([5, 6, 7]), np.array([5, 2, 7]), np.array([0.9, 0.4, 1.0]))
