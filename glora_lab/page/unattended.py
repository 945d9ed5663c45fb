"""What kind of page this is, and whether anybody is there to be asked.

A page that runs a cell says whether it can be asked for input. nbclient, by which nbmake, nbconvert and papermill run
a notebook, says no. So does Voilà, which runs the notebook first and has its reader after that.
"""

from __future__ import annotations

import os
from typing import Any

from IPython import get_ipython

STATIC = "GLORA_LAB_STATIC"  # set in the environment where a page has no widgets


def in_colab() -> bool:
    return bool({"COLAB_RELEASE_TAG", "COLAB_NOTEBOOK_ID"} & os.environ.keys())


def is_static() -> bool:
    """Whether the page has no widgets, and a panel is a still picture."""
    return bool(os.environ.get(STATIC))


def executed() -> bool:
    """Whether a notebook is being run from beginning to end, and read, if at all, when its kernel is gone."""
    if in_colab() or os.environ.get("SERVER_SOFTWARE", "").startswith("voila/"):
        return False
    return not getattr(_kernel(), "_allow_stdin", True)


def unattended() -> bool:
    """No page, as in a script, or none whose reader could answer."""
    return is_static() or _kernel() is None or executed()


def _kernel() -> Any:
    return getattr(get_ipython(), "kernel", None)
