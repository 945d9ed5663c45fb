"""Files that take their place all at once.

What is being written stands in a folder of its own beside the old files, and each file is moved over the old one
when all of them are complete. A process that is killed leaves the old files as they were (and that folder, whose
name begins with `.saving-`, which may be deleted).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replacing(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write into; what stands in it at the end replaces the files of these names in `folder`.

    Where the block raises, `folder` keeps what it had.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".saving-", dir=target) as name:
        yield Path(name)
        for written in sorted(path for path in Path(name).rglob("*") if path.is_file()):
            place = target / written.relative_to(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(written, place)  # one step for the file system: a reader sees the old file or the new one
