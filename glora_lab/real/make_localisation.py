"""Makes the record of how far contamination reaches on minilm: ten minutes of one core.

Each layer is a file of its own as soon as it is there and is not made again, so that it may be stopped at any moment;
the last step puts them into the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from glora_lab.folders import replacing
from glora_lab.ideas.outliers.measure_localisation import DRAWS, localisation
from glora_lab.ideas.outliers.record_localisation import Localisation

from .localisation import FILE, MODEL, TASK, TEXTS, layer_names, tokens_of
from .machine import machine


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m glora_lab.real.make_localisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kept, place = Path("test-results/localisation"), Path(__file__).parent
    parser.add_argument("--kept", type=Path, default=kept, help="where the layers are kept (default: %(default)s)")
    parser.add_argument("--into", type=Path, default=place, help=f"the folder for {FILE}, by default the package's")
    given = parser.parse_args(arguments)
    found = [one for name in layer_names() for one in _layer(name, given.kept)]
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
        _write(file, localisation(tokens_of([name]), made=made))
    yield Localisation.from_json(file.read_text(encoding="utf-8"))


def _write(file: Path, record: Localisation) -> None:
    with replacing(file.parent) as new:
        (new / file.name).write_text(record.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
