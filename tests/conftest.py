"""What every test stands on: one thread, fixed seeds, no network, and records whose shapes are checked."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ["GLORA_LAB_RUNS"] = "off"  # what the tests train is kept where a test says so, and in no notebook's folder

import functools
import gc
import random
import sys
import typing
from collections.abc import Callable

import hypothesis
import jaxtyping
import numpy as np
import pytest
import torch
from beartype import BeartypeConf, beartype

from glora_lab import records
from tests.adapters.matrix.table import write_table
from tests.faults.counts import write_counts

torch.set_num_threads(1)
gc.disable()  # until the test modules are imported: what they make stays, and looking through it takes time

# Seconds on a loaded machine say nothing, and a run that fails has to fail again.
hypothesis.settings.register_profile("lab", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("lab")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write_table(terminalreporter)
    write_counts(terminalreporter)


def check_record_shapes() -> None:
    """Check each record's fields as it is made, the shapes of its arrays among them.

    The records' modules import jaxtyping for type checkers only, because readers need not have it. Here its names
    are put into each module, the field annotations become types, and each `__init__` is replaced in place.
    """
    typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float
    for record in records.Record.__subclasses__():
        module = sys.modules[record.__module__]
        module.Float, module.Int = jaxtyping.Float, jaxtyping.Int
        record.__init__.__annotations__ = {**typing.get_type_hints(record), "return": None}
        record.__init__ = without_dice(jaxtyping.jaxtyped(record.__init__, typechecker=typecheck))


def without_dice(function: Callable[..., None]) -> Callable[..., None]:
    """beartype draws which item of a container it looks at: give the draw back, seeds are the tests' own."""

    @functools.wraps(function)
    def wrapped(*args: object, **kwargs: object) -> None:
        state = random.getstate()
        try:
            function(*args, **kwargs)
        finally:
            random.setstate(state)

    return wrapped


check_record_shapes()


def pytest_collection_finish() -> None:
    """From here on the collector looks at what the tests make, and no more at the third of a million before."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
