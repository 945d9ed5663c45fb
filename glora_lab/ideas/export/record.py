"""What became of an adapter that left for plain PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from glora_lab.record import Record


@dataclass(frozen=True, eq=False)
class LayerExport(Record):
    """One layer: the `rank` it has in the file (None: as it was), and ‖ΔW − what was written‖ / ‖ΔW‖ (Frobenius)."""

    layer: str
    rank: int | None
    error: float


@dataclass(frozen=True, eq=False)
class ExportReport(Record):
    """A checkpoint that plain PEFT reads: its `format` ("peft" or "lora") and what was written of each layer."""

    format: str
    path: str
    rows: tuple[LayerExport, ...]

    @property
    def error(self) -> float:
        """The largest relative error of a layer; 0 where there is none."""
        return max((row.error for row in self.rows), default=0.0)
