"""The runs on a real model: `python -m glora_lab.real [--journal FILE] [-j N] [--store]`, or `make real`.

minilm (22.7 million parameters) learns whether two words of a sentence have changed places, by each arm in `arms.py`.
Each run is a line of the journal as soon as it is there, and is not made again: the script may be stopped at any
moment, and goes on. All of it takes two to three hours of one core; `queue.py` says in which order. A GPU is taken
where there is one, and each line says what it was made on. `--store` writes what the journal has into the package,
where a notebook reads it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from glora_lab.arguments import check_positive_int

from .journal import Journal
from .queue import SEEDS
from .run import STEPS
from .stored import runs_of, store
from .work import Line, wanted, work


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m glora_lab.real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--journal", type=Path, default=Path("test-results/real.jsonl"), help="(default: %(default)s)")
    parser.add_argument("-j", type=int, default=1, help="processes, of one thread each; 1 with a GPU")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training (default: %(default)s)")
    parser.add_argument("--runs", type=int, help="stop after so many lines")
    parser.add_argument("--store", action="store_true", help="write the package's records of what there is, and stop")
    given = parser.parse_args(arguments)
    for name in ("j", "seeds", "steps"):
        check_positive_int(name, getattr(given, name))
    journal = Journal(given.journal)
    if given.store:
        print("\n".join(map(str, store(journal, Path(__file__).parent))))
        return
    started = time.perf_counter()
    print(f"{len(list(journal))} lines in {journal.file}; at least {len(wanted(list(journal)))} to come", flush=True)
    asked = {"processes": given.j, "seeds": given.seeds, "steps": given.steps}
    for done, line in enumerate(work(journal, **asked), 1):
        print(f"{time.perf_counter() - started:6.0f} s  {said(line)}", flush=True)
        if done == given.runs:
            return
    runs = runs_of(journal)
    for cell in runs.cells:
        shares = " ".join(f"{share:.3f}" for share in cell.tests)
        print(f"{cell.name:26} {cell.params:11,} parameters, rate {cell.lr:g}: {cell.mean:.3f} of the test ({shares})")
    print("\n".join(one.in_words for one in runs.against()))


def said(line: Line) -> str:
    if "once" in line:
        return f"{line['once']} is made"
    run = line["run"]
    name = f"{run['arm']} at {run['budget']}" if run["budget"] else run["arm"]
    shares = f"validation {run['validation']:.3f}, test {run['test']:.3f}"
    return (
        f"{name}, rate {run['lr']:g}, seed {run['seed']}: {shares}, {run['seconds']} s on {line['machine']['device']}"
    )


if __name__ == "__main__":
    main()
