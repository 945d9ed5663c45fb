"""What became of an adapter that left for plain PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class LayerExport(Record):
    """What was written of one layer.

    Attributes:
        layer: the layer's name in the model.
        rank: the rank that it has in the file; None where it was written as it is.
        error: ‖ΔW − what was written‖ / ‖ΔW‖ (Frobenius).
    """

    layer: str
    rank: int | None
    error: float


@dataclass(frozen=True, eq=False)
class ExportReport(Record):
    """A checkpoint that plain PEFT reads; `export_peft` writes it.

    Attributes:
        format: "peft" for PEFT's own type of the method, "lora" for a plain LoRA.
        path: the folder.
        rows: one for each layer.
    """

    format: str
    path: str
    rows: tuple[LayerExport, ...]

    @property
    def error(self) -> float:
        """The largest relative error of a layer; 0 where there is none."""
        return max((row.error for row in self.rows), default=0.0)
