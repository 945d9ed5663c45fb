"""Several models that learn the same task side by side: the same batches in the same order, a step each in turn.

Decisions. They take turns in one thread rather than a thread each: so all curves grow together, each step has
the machine to itself and its seconds can be compared, and one pause rests all of them. A racer that fails drops
out and the others go on to their end; the race counts as failed all the same, and `wait()` raises what the racer
met, for a comparison with a hole in it must not pass for a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from torch import nn

from glora_lab.arguments import A_MODEL, check_kind
from glora_lab.data import Task
from glora_lab.ideas.training.record import Step

from .background import Background
from .loop import fit


class Race(Background):
    """Models trained in turns in a daemon thread: start, pause, resume, stop, wait, as a TrainSession.

    Args:
        models: name → model; each learns by a `fit` of its own, with the numbers given here.
        task, steps, lr, seed, on_step, options: as `fit` and TrainSession take them; `steps` are each model's.

    `steps` holds all steps in the order in which they were taken, `lines` those of each model, `errors` what
    ended the models that failed. `total` counts the steps of all.

    Raises:
        ValueError: for fewer than two models, and for what `fit` refuses.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        task: Task,
        *,
        steps: int,
        lr: float,
        seed: int,
        on_step: Callable[[Step], object] | None = None,
        **options: Any,
    ) -> None:
        check_kind("models", models, Mapping, "must be a dict from a name to a model")
        if len(models) < 2:
            raise ValueError(f"`models` (={list(models)}) must name two models or more to race")
        for name, model in models.items():
            check_kind(f"models[{name!r}]", model, nn.Module, A_MODEL)
        self._fits = {name: fit(m, task, steps=steps, lr=lr, seed=seed, **options) for name, m in models.items()}
        self._lines: dict[str, list[Step]] = {name: [] for name in models}
        self._errors: dict[str, Exception] = {}
        super().__init__(self._take_turns(), steps * len(models), on_step)

    @property
    def lines(self) -> dict[str, tuple[Step, ...]]:
        """Name → the steps of that model so far."""
        return {name: tuple(line) for name, line in self._lines.items()}

    @property
    def errors(self) -> dict[str, Exception]:
        """Name → what ended that model's training, for those that failed."""
        return dict(self._errors)

    def _spent(self) -> tuple[float, int]:
        last = [line[-1] for line in self.lines.values() if line]
        return sum(step.seconds for step in last), sum(step.index for step in last)

    def _take_turns(self) -> Generator[Step, None, None]:
        going = dict(self._fits)
        try:
            while going:
                for name, training in list(going.items()):
                    try:
                        step = next(training)
                    except StopIteration:
                        del going[name]
                    except Exception as error:
                        self._errors[name] = error
                        del going[name]
                    else:
                        self._lines[name].append(step)
                        yield step
        finally:
            for training in self._fits.values():
                training.close()
        if self._errors:
            raise next(iter(self._errors.values()))
