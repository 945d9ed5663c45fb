"""How far contamination reaches on minilm, layer by layer, as it is and under controls, and the stored record of it.

`python -m glora_lab.real.localisation` makes it: ten minutes of one core. Each layer is a file of its own as soon as it
is there and is not made again, so that it may be stopped at any moment; the last step puts them into the package.
The gradient is that of the start of training: a fresh head, 64 texts of "docstrings".
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from glora_lab.data import load_task
from glora_lab.folders import replacing
from glora_lab.ideas.outliers.measure_controls import controlled
from glora_lab.ideas.outliers.measure_localisation import DRAWS, contaminated_share, localisation
from glora_lab.ideas.outliers.measure_tokens import LayerTokens, layer_tokens
from glora_lab.ideas.outliers.record_localisation import ContaminatedShare, Localisation
from glora_lab.models import load_model

from .machine import machine

FILE = "localisation.json"
MODEL, TASK, TEXTS = "minilm", "docstrings", 64
LAYERS = re.compile(r"bert\.encoder\.layer\.\d+\..+")


def stored_localisation() -> Localisation:
    """As it lies in the package: 36 layers, five controls, ranks 16 and 64, k = 1, 2, 4, 8."""
    return Localisation.from_json((resources.files("glora_lab.real") / FILE).read_text(encoding="utf-8"))


def localised_anew(layer: str, control: str, *, r: int, k: int) -> ContaminatedShare:
    """One cell of the stored record made anew: a pass through the model, and a fresh adapter for each draw.

    Args:
        layer: its name in the record.
        control, r, k: as in the record, or others.

    Raises:
        ValueError: for a layer that the model does not have, or a control, rank or k that cannot be.
        ImportError: where minilm's package is not installed.
    """
    gradient = controlled(_tokens([layer])[layer], control)
    return contaminated_share(layer, control, gradient, r=r, k=k)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m glora_lab.real.localisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kept, place = Path("test-results/localisation"), Path(__file__).parent
    parser.add_argument("--kept", type=Path, default=kept, help="where the layers are kept (default: %(default)s)")
    parser.add_argument("--into", type=Path, default=place, help=f"the folder for {FILE}, by default the package's")
    given = parser.parse_args(arguments)
    found = [one for name in _names() for one in _layer(name, given.kept)]
    whole = Localisation(
        tuple(row for one in found for row in one.rows),
        tuple(row for one in found for row in one.layers),
        found[0].made,
    )
    _write(given.into / FILE, whole)
    print(f"{given.into / FILE}: {len(whole.rows):,} shares of {len(found)} layers")


def _layer(name: str, folder: Path) -> Iterator[Localisation]:
    """The record of one layer, read where it is there."""
    file = folder / f"{name}.json"
    if not file.exists():
        print(name, flush=True)
        made = {"model": MODEL, "task": TASK, "texts": TEXTS, "draws": DRAWS, "machine": machine()}
        _write(file, localisation(_tokens([name]), made=made))
    yield Localisation.from_json(file.read_text(encoding="utf-8"))


def _names() -> list[str]:
    return [name for name, module in _model().named_modules() if isinstance(module, nn.Linear) and LAYERS.match(name)]


@lru_cache(maxsize=1)
def _model() -> nn.Module:
    return load_model(MODEL, num_labels=load_task(TASK).num_classes)


def _tokens(layers: Collection[str]) -> dict[str, LayerTokens]:
    batch: Any = load_task(TASK).train.rows(slice(0, TEXTS))
    return layer_tokens(_model(), batch, layers)


def _write(file: Path, record: Localisation) -> None:
    with replacing(file.parent) as new:
        (new / file.name).write_text(record.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
