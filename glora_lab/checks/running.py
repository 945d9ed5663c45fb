"""Exercises whose truth has to be run: a gradient, a mixed batch, a short training."""

from __future__ import annotations

import copy
from typing import Any

import torch

from glora_lab.adapters import GraloraConfig
from glora_lab.data import load_task
from glora_lab.measure import gradient_report
from glora_lab.models import OUTLIER_LAYER, load_model, outlier_layer
from glora_lab.training import evaluate, fit

from .exercise import NotYet, exercise, glora_config, several, whole_number
from .material import BODY, COLOURS, adapted, mixed_names

SIZE, CHANNEL, RANK, K = 128, 40, 32, 4
LIMIT, STEPS, LR, ENOUGH = 3_000, 60, 1e-2, 0.6


@exercise
def check_outlier_reach(answer: Any) -> str:
    """Of a 128×128 layer under GraLoRA with k = 4, rank 32, whose input channel 40 is a hundred times the others: the
    input channels whose blocks the outlier spoils.

    `answer` is a list or a range of whole numbers from 0.
    """
    channels = {whole_number(item, "each channel") for item in several(answer, "the input channels")}
    model, batch = outlier_layer(size=SIZE, channel=CHANNEL, magnitude=100, seed=0)
    config = GraloraConfig(r=RANK, gralora_k=K, alpha=2 * RANK, target_modules=[OUTLIER_LAYER])
    report = gradient_report(adapted(model, config), batch, OUTLIER_LAYER)
    width = SIZE // K
    truth = {i for _, n in report.contaminated(2 * (SIZE / RANK) ** 0.5) for i in range(n * width, (n + 1) * width)}
    if channels == truth:
        return (
            f"One block column: {len(truth)} of {SIZE} channels, a share of 1/k. LoRA's one block is the whole layer."
        )
    if not channels <= set(range(SIZE)):
        raise NotYet(f"The layer's input channels are 0 to {SIZE - 1}.")
    if channels == {CHANNEL}:
        raise NotYet("So it is under full fine-tuning. But AᵀA of a block mixes all the channels that the block reads.")
    if channels == set(range(SIZE)):
        raise NotYet("That is LoRA's answer, with its one block. A block of GraLoRA sees a part of the inputs.")
    if channels == truth - {CHANNEL}:
        raise NotYet(
            "Only channel 40 is missing: its own gradient is hardly off, but it lies in a spoiled block. Here the "
            "whole block counts."
        )
    if truth - channels:
        raise NotYet(
            "Some are missing, or these are other blocks: which blocks read channel 40, and what else do they read?"
        )
    raise NotYet("Too many. A block that does not read channel 40 has never heard of it.")


@exercise
def check_mixed_names(answer: Any) -> str:
    """The names that were given for the six rows of `unknown_mix()`.

    `answer` is a list of six names; a row without an adapter has "__base__".
    """
    names = [name if isinstance(name, str) else type(name).__name__ for name in several(answer, "a name for each row")]
    truth = mixed_names()
    known = {*COLOURS, "__base__"}
    if len(names) != len(truth):
        raise NotYet(f"There are {len(truth)} rows, and each needs one name; these are {len(names)}.")
    if not set(names) <= known:
        raise NotYet(f'{", ".join(sorted(set(names) - known))}: no such adapter. Rows without one go by "__base__".')
    wrong = sum(name != true for name, true in zip(names, truth, strict=True))
    if not wrong:
        return "Each row is what its own adapter makes of it, whatever its neighbours use."
    if "__base__" not in names:
        raise NotYet(f"{wrong} of the rows would come out differently. Does every row need an adapter?")
    raise NotYet(
        f"{wrong} of the rows would come out differently. Run all rows with one adapter and compare row by row."
    )


@exercise
def check_paths_under_limit(answer: Any) -> str:
    """A configuration for digits-vit of at most 3,000 parameters that reads 60% of the turned digits of the validation
    part after 60 steps at learning rate 0.01.

    `answer` is a GloraConfig, and is trained for a few seconds.
    """
    config = copy.deepcopy(glora_config(answer))
    config.target_modules = config.target_modules or BODY
    try:
        config.validate()
        model = adapted(load_model("digits-vit"), config)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)  # biases that are trained, too
    except ValueError as refusal:
        raise NotYet(f"This configuration cannot be used here: {refusal}") from None
    if not count:
        raise NotYet("Nothing is trained by this configuration.")
    if count > LIMIT:
        raise NotYet(
            f"That is {count:,} parameters, above the limit of {LIMIT:,}. What costs least of what does the work?"
        )
    task = load_task("digits-turned")
    with torch.random.fork_rng(devices=[]):
        list(fit(model, task, steps=STEPS, lr=LR, seed=0, eval_every=STEPS))
    accuracy = evaluate(model, task.validation)
    if accuracy < ENOUGH:
        raise NotYet(
            f"{count:,} parameters, and it reads {accuracy:.0%}. Look at notebook 03: which path does the work?"
        )
    return f"{count:,} parameters, and it reads {accuracy:.0%} of the turned digits."
