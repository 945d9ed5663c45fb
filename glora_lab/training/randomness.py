"""Random numbers of one's own, for a model that draws from torch's global generators (dropout).

Such a model takes its numbers from generators that the whole process shares. While it runs, `Randomness`
puts a stream of its own there and afterwards the caller's back, so that the same seed gives the same run and
the caller's next random number is the one it would have been.

Decision: the loop swaps only for models that really draw, which one forward pass tells. A swap made by a
training thread at every step would undo a `torch.manual_seed` of the main thread, silently and often. With
dropout in a thread that remains so: torch has no generator per thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Randomness:
    """A stream of global random numbers that starts at `seed`, on the CPU and on `device`."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=self._devices):
            torch.manual_seed(seed)
            self._states = self._read()

    @contextmanager
    def drawn_from(self) -> Iterator[None]:
        """Global random numbers come from this stream inside, and from where they came before afterwards."""
        with torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self._states[0])
            for device, state in zip(self._devices, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            try:
                yield
            finally:
                self._states = self._read()

    def is_drawn_by(self, call: Callable[[], object]) -> bool:
        """Whether `call` draws global random numbers. It is called once; no stream moves on for it."""
        with torch.random.fork_rng(devices=self._devices):
            before = self._read()
            call()
            return not all(map(torch.equal, before, self._read()))

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._devices)]
