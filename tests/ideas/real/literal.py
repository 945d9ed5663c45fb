"""Records of real runs written out by hand."""

from __future__ import annotations

from glora_lab.records import DriftRow, MatrixChange, RealCell, RealChanges, RealDrift, RealRun, RealRuns

MADE = {"model": "minilm", "task": "swapped", "steps": 100}


def run(arm: str, budget: int, params: int, lr: float, seed: int, validation: float, test: float) -> RealRun:
    return RealRun(arm, budget, params, lr, seed, validation, test, 1.0)


RUNS = RealRuns(
    (
        run("linear probe", 0, 0, 1e-2, 0, 0.51, 0.50),
        run("LoRA", 8, 331_776, 1e-3, 0, 0.72, 0.70),
        run("LoRA", 8, 331_776, 5e-4, 0, 0.70, 0.75),
        run("LoRA", 8, 331_776, 2e-3, 0, 0.50, 0.50),
        run("LoRA", 8, 331_776, 1e-3, 2, 0.74, 0.72),
        run("LoRA", 8, 331_776, 1e-3, 1, 0.73, 0.71),
        run("LoRA", 32, 1_327_104, 1e-3, 0, 0.74, 0.73),
        run("GraLoRA k=4", 8, 331_776, 1e-3, 0, 0.66, 0.65),
        run("GraLoRA k=4", 8, 331_776, 1e-3, 1, 0.66, 0.65),
        run("GraLoRA k=4", 32, 1_327_104, 1e-3, 0, 0.70, 0.69),
        run("full fine-tuning", 0, 22_713_216, 1e-4, 0, 0.76, 0.75),
    ),
    MADE,
)


def cell_of(arm: str, budget: int, tests: tuple[float, ...]) -> RealCell:
    return RealCell(arm, budget, 1, 1e-3, tests, tests, {1e-3: tests[0]}, 1000)


def matrix(layer: str, slope: float, errors: tuple[float, float]) -> MatrixChange:
    values = tuple((j + 1) ** slope for j in range(4))
    energy = {1: 0.25, 8: 0.5, 16: 0.75, 32: 1.0}
    return MatrixChange(layer, (384, 384), values, energy, slope, {(1, 8): errors[0], (4, 8): errors[1]})


CHANGES = RealChanges((matrix("0.query", -1.0, (0.5, 0.6)), matrix("0.key", -0.5, (0.7, 0.6))), MADE)

DRIFT = RealDrift(
    (
        DriftRow("GraLoRA k=4", "glora_lab", {1: 0.0, 100: 0.0}, 0.0, 0.1, 0.01, 0.2),
        DriftRow("GraLoRA k=4", "stock PEFT", {1: 0.001, 100: 0.02}, 0.5, 0.1, 0.03, 0.3),
    ),
    MADE,
)
