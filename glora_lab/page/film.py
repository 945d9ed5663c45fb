"""What a panel showed while it followed a training, for a page on which nothing trains: a slider over its steps."""

from __future__ import annotations

from collections.abc import Iterable

from glora_lab.drawing.picture import Picture

MOST = 12  # frames


class Film:
    """`take` keeps what is shown at a step; of one step the last counts. `frames` has step → pictures, in order.

    A long run is thinned: of the first twelve looks each is kept, of those that follow every second, every fourth.
    """

    def __init__(self) -> None:
        self.frames: dict[int, tuple[Picture, ...]] = {}
        self._looks: dict[int, int] = {}  # step → the number of its look
        self._every = 1

    def take(self, step: int, shown: Iterable[Picture]) -> None:
        pictures = tuple(shown)
        if not pictures:
            return
        latest = next(reversed(self.frames), None)
        number = self._looks[latest] + (latest != step) if latest is not None else 0
        if latest is not None and self._looks[latest] % self._every and latest != step:
            self._drop(latest)
        self.frames[step], self._looks[step] = pictures, number
        if len(self.frames) > MOST:
            self._every *= 2
            for old in [at for at, n in self._looks.items() if n % self._every and at != step]:
                self._drop(old)

    def _drop(self, step: int) -> None:
        del self.frames[step], self._looks[step]
