"""Whether anybody is there to be asked.

A page that runs a cell says whether it can be asked for input. nbclient, by which nbmake, nbconvert and papermill run
a notebook, says no. So does Voilà, which runs the notebook first and has its reader after that.
"""

from __future__ import annotations

import os

from IPython import get_ipython

from .figure_slot import in_colab, is_static


def unattended() -> bool:
    """No page, as in a script, or none whose reader could answer."""
    kernel = getattr(get_ipython(), "kernel", None)
    if is_static() or kernel is None:
        return True
    if in_colab() or os.environ.get("SERVER_SOFTWARE", "").startswith("voila/"):
        return False
    return not getattr(kernel, "_allow_stdin", True)
