"""`glora-lab search`: worker processes that look for the settings of one model and task together.

They know of each other by the storage alone, so the same line on another machine adds its workers to the search. This
process makes the study, or is refused, before a worker starts, and then looks on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import Any

MODELS = "as load_model takes it: digits-vit, a folder, a name on the hub"
STORAGE = "GLORA_LAB_STORAGE"
DEFAULT_STORAGE = "search.journal"
SEARCH = f"""\
Starts N processes that try settings, one thread each, and prints the front at the end. The same line again goes on with
the search; on another machine it joins it, where the storage is a database: postgresql://user@host/database. A password
is better kept from the command line: in ~/.pgpass, or a URL in the variable {STORAGE}. Ctrl-C ends cleanly: what is
being tried is given back."""
EVERY = 1.0  # seconds between two looks at the study
SAY_EVERY = 10.0  # seconds between two lines of progress
PATIENCE = 10.0  # seconds for workers to end when they are asked to


def add_search(commands: Any, formatter: type[argparse.HelpFormatter]) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "search", help="look for settings with several processes", description=SEARCH, formatter_class=formatter
    )
    parser.add_argument("model", metavar="MODEL", help=MODELS)
    parser.add_argument("--task", required=True, metavar="NAME", help="as load_task takes it: digits-turned")
    parser.add_argument("--method", default="glora", help="glora, lora or gralora (default: glora)")
    parser.add_argument("--ranks", type=_numbers, default=(1, 2, 4, 8), metavar="1,2,4,8", help="ranks to choose from")
    parser.add_argument("--per", default="kind", help="choose for each kind of layer, or each layer (default: kind)")
    parser.add_argument("--limit", type=_limit, metavar="N", help="the most parameters, or flops=N,saved_bytes=N")
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="settings in all (default: 200)")
    parser.add_argument("--engine", default="adapted", help="how one is scored (default: adapted)")
    parser.add_argument("--sampler", default="nsga2", help="who proposes: nsga2, tpe, random (default: nsga2)")
    parser.add_argument("--gate", type=int, default=12, metavar="N", help="settings that judge it (default: 12)")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of real training (default: 100)")
    parser.add_argument("--storage", metavar="URL|FILE", help=f"where the trials are (default: {DEFAULT_STORAGE})")
    parser.add_argument("--name", default="search", help="the study's name there (default: search)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes here (default: 1)")
    parser.add_argument("--grace", type=float, default=60.0, metavar="S", help="seconds until a worker counts as dead")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def search(asked: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    how = {name: value for name, value in vars(asked).items() if name not in ("command", "workers")}
    how["storage"] = how["storage"] or os.environ.get(STORAGE) or DEFAULT_STORAGE
    if asked.workers < 1:
        return _say(f"`--workers` (={asked.workers}) must be an integer above 0", 2)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers; and before torch is imported here
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    workers: list[Any] = []
    study = None
    try:
        study = _study(**how)
        done = f"{len(study.trials)} of {study.total} trials"
        print(f"{study.storage}: {done}; {asked.workers} workers start", flush=True)
        workers = _started(how, asked.workers)
        _look_on(study, workers)
    except (ValueError, ImportError) as refusal:
        return _say(str(refusal), 2)
    except ConnectionError as error:
        _end(workers)
        return _say(str(error), 1)
    except KeyboardInterrupt:
        _end(workers)
        if study is not None:
            _tell(study, [])
        return _say("ended; the same line goes on with it", 130)
    return _tell(study, workers)


def _study(model: str, task: str, method: str, ranks: tuple[int, ...], per: str, **settings: Any) -> Any:
    """The study that the line asks for, with nothing run yet."""
    import torch

    from glora_lab.data import load_task
    from glora_lab.models import load_model
    from glora_lab.search import SearchSpace, search_paths

    torch.set_num_threads(1)
    loaded, about = load_model(model), load_task(task)
    return search_paths(loaded, about, SearchSpace.of(loaded, method, ranks=ranks, per=per), **settings)


def _started(how: Mapping[str, Any], count: int) -> list[Any]:
    """The workers, which do not hear Ctrl-C: a terminal sends it to all, and this process tells them."""
    spawn = multiprocessing.get_context("spawn")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        workers = [spawn.Process(target=_work, args=(dict(how), place), daemon=True) for place in range(count)]
        for worker in workers:
            worker.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return list(workers)


def _work(how: dict[str, Any], place: int) -> None:
    """One worker, until the search is over or it is told to end, when it gives back what it is trying."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries, once for each worker
    try:
        for _ in _study(**how):
            pass
    except Exception as error:
        print(f"glora-lab search: worker {place}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def _look_on(study: Any, workers: list[Any]) -> None:
    """Say how far it is until no worker is left."""
    said, known = time.monotonic(), -1
    while any(worker.is_alive() for worker in workers):
        workers[0].join(EVERY) if workers[0].is_alive() else time.sleep(EVERY)
        study.refresh()
        if len(study.trials) != known and time.monotonic() - said > SAY_EVERY:
            said, known = time.monotonic(), len(study.trials)
            print(f"{known} of {study.total} trials, {study.running} under way{_best(study)}", flush=True)
    study.refresh()


def _best(study: Any) -> str:
    if not study.trials:
        return ""
    best = study.best()
    return f", best {best.metric:.3f} with {best.params:,} parameters"


def _end(workers: list[Any]) -> None:
    """Ask them to end, and make those that do not."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for worker in workers:
            worker.terminate()
        until = time.monotonic() + PATIENCE
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
            worker.kill()
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(study: Any, workers: list[Any]) -> int:
    """Print the front; the exit code is 1 where workers broke down and trials are left to do."""
    study.refresh()
    print(f"{len(study.trials)} of {study.total} trials. {study.said}".strip())
    if study.front:
        print(f"{'parameters':>12}  {'accuracy':>8}  {'engine':<10} choice (validation part; verify before you claim)")
    for trial in study.front:
        name = f" ({trial.name})" if trial.name else ""
        print(f"{trial.params:>12,}  {trial.metric:>8.3f}  {trial.engine:<10} {trial.choice}{name}")
    broken = [place for place, worker in enumerate(workers) if worker.exitcode]
    if broken and len(study.trials) < study.total:
        return _say(f"workers {broken} broke down; the same line goes on with the search", 1)
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _limit(text: str) -> int | dict[str, int]:
    if "=" not in text:
        return int(text.replace("_", ""))
    pairs = (part.partition("=") for part in text.split(","))
    return {kind.strip(): int(most.replace("_", "")) for kind, _, most in pairs}


def _say(sentence: str, code: int) -> int:
    print(f"glora-lab search: {sentence}", file=sys.stderr, flush=True)
    return code
