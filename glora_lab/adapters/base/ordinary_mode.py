"""Leaving `torch.inference_mode()` where tensors are made that outlive the call.

Every tensor that is made within that mode is closed to autograd for as long as it lives: a server that adds, loads or
merges an adapter as it starts would be left with weights that no later training can use, of the adapter or of a layer
behind it ("Inference tensors cannot be saved for backward"). So whoever makes, loads or merges parameters does it in
the ordinary mode, without a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def ordinary_mode(wanted: bool = True) -> Iterator[None]:
    """Within, or in a function that is decorated with it, new tensors are ordinary ones."""
    if wanted and torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():  # which would switch gradients on as well
            yield
    else:
        yield
