"""fit: what it yields, what it changes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from glora_lab.data import Part, load_task
from glora_lab.models import load_model
from glora_lab.records import Step
from glora_lab.training import evaluate, fit
from glora_lab.training.randomness import Randomness
from tests.training.reader import Reader, brightest, part, reader

RUN = {"steps": 12, "lr": 0.05, "seed": 0, "batch_size": 8}


def lora_digits_vit() -> nn.Module:
    with warnings.catch_warnings():  # PEFT calls a deprecated name of transformers
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(load_model("digits-vit"), LoraConfig(r=2, lora_alpha=2, target_modules="all-linear"))


def numbers(steps: list[Step]) -> list[tuple[int, float, float, bool]]:
    return [(step.index, step.loss, step.metric, step.measured) for step in steps]


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# what it yields


def test_a_step_each_and_the_metric_where_it_was_measured() -> None:
    model, task = reader(), brightest()
    steps = list(fit(model, task, steps=11, lr=0.05, seed=0, eval_every=4))
    assert [step.index for step in steps] == list(range(1, 12))
    assert [step.index for step in steps if step.measured] == [1, 4, 8, 11]
    carried = [steps[0].metric] * 3 + [steps[3].metric] * 4 + [steps[7].metric] * 3 + [steps[10].metric]
    assert [step.metric for step in steps] == carried
    assert steps[-1].metric == evaluate(model, task.validation)
    seconds = [step.seconds for step in steps]
    assert seconds[0] > 0 and seconds == sorted(seconds)


def test_the_metric_is_any_function_of_model_and_part() -> None:
    task = brightest()
    asked = []

    def metric(model: nn.Module, part: Part) -> float:
        asked.append(part)
        return float(len(asked))

    steps = list(fit(reader(), task, steps=4, lr=0.1, seed=0, eval_every=2, metric=metric))
    assert [step.metric for step in steps] == [1, 2, 2, 3]
    assert all(part is task.validation for part in asked)


def test_what_the_caller_does_between_steps_is_no_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("glora_lab.training.loop.perf_counter", lambda: float(next(clock)))
    seconds = []
    for step in fit(reader(), brightest(), **RUN):
        next(clock)  # a second passes outside
        seconds.append(step.seconds)
    assert seconds == [float(n) for n in range(1, 13)]


# the arithmetic


@pytest.mark.parametrize(
    ("name", "optimizer", "decay"),
    [("adam", torch.optim.Adam, 0.0), ("adam", torch.optim.AdamW, 0.3), ("sgd", torch.optim.SGD, 0.1)],
)
def test_it_is_the_loop_one_would_write(name: str, optimizer: type, decay: float) -> None:
    task = brightest()
    ours, theirs = reader(), reader()
    steps = list(fit(ours, task, **RUN, optimizer=name, weight_decay=decay))
    update = optimizer(theirs.parameters(), lr=RUN["lr"], weight_decay=decay)
    generator = torch.Generator().manual_seed(0)
    orders = torch.cat([torch.randperm(40, generator=generator) for _ in range(3)]).split(8)
    theirs.train()
    for step, index in zip(steps, orders, strict=False):
        update.zero_grad()
        loss = theirs(**task.train.rows(index)).loss
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        update.step()
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


@given(n=st.integers(2, 30), batch_size=st.integers(2, 40))
def test_each_time_through_sees_every_example_once(n: int, batch_size: int) -> None:
    if n % batch_size == 1:
        return  # a batch of one, which the reader's batch norm cannot take
    model, task = reader(), brightest(n)
    through = math.ceil(n / batch_size)
    list(fit(model, task, steps=2 * through, lr=0.01, seed=0, batch_size=batch_size))
    everything = sorted(task.train.inputs["pixel_values"].flatten(1).tolist())
    for start in (0, through):
        seen = torch.cat(model.seen[start : start + through])
        assert sorted(seen.flatten(1).tolist()) == everything


def test_a_small_adapter_learns_to_read_turned_digits() -> None:
    model, task = lora_digits_vit(), load_task("digits-turned")
    before = state(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    steps = list(fit(model, task, steps=80, lr=1e-2, seed=0, eval_every=40))
    assert steps[0].metric < 0.2 and steps[-1].metric > 0.6
    after = state(model)
    assert {name for name in after if not torch.equal(before[name], after[name])} == trained


# the same numbers


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_same_seed_gives_the_same_bits_whatever_the_caller_draws(dropout: float) -> None:
    first, second, other = (reader(dropout=dropout) for _ in range(3))
    quiet = numbers(list(fit(first, brightest(), **RUN)))
    drawing = []
    for step in fit(second, brightest(), **RUN):
        torch.rand(3)
        drawing.append(step)
    assert numbers(drawing) == quiet
    assert same(state(first), state(second))
    assert numbers(list(fit(other, brightest(), **{**RUN, "seed": 1}))) != quiet


def test_dropout_hangs_on_the_seed_and_differs_from_step_to_step() -> None:
    model = reader(dropout=0.5)
    masks: list[list[bool]] = []
    model.dropout.register_forward_hook(
        lambda _, inputs, output: masks.append((output == 0).flatten().tolist()) if model.training else None
    )
    list(fit(model, brightest(), steps=5, lr=0.05, seed=0, batch_size=8))
    assert len({tuple(mask) for mask in masks[1:]}) == 5  # the first forward only tried the model out


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_callers_random_state_is_kept_at_every_yield(dropout: float) -> None:
    before = torch.get_rng_state()
    for _ in fit(reader(dropout=dropout), brightest(), **RUN):
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_dropout_the_global_generator_is_not_even_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    swaps = []
    drawn_from = Randomness.drawn_from
    monkeypatch.setattr(Randomness, "drawn_from", lambda self: (swaps.append(1), drawn_from(self))[1])
    list(fit(reader(), brightest(), **RUN))
    assert swaps == []
    list(fit(reader(dropout=0.5), brightest(), **RUN))
    assert len(swaps) == 12


# the mode it leaves


class HalfFrozen(Reader):
    def train(self, mode: bool = True) -> HalfFrozen:
        super().train(mode)
        self.norm.eval()
        return self


def watch_modes(model: Reader) -> list[tuple[bool, bool]]:
    modes: list[tuple[bool, bool]] = []
    model.each_loss = lambda loss, step: (modes.append((model.dropout.training, model.norm.training)), loss)[1]
    return modes


@pytest.mark.parametrize(("kind", "norm_trains"), [(Reader, True), (HalfFrozen, False)])
def test_train_mode_within_a_step_and_eval_mode_between(kind: type[Reader], norm_trains: bool) -> None:
    model = kind()
    modes = watch_modes(model)
    for _ in fit(model.train(), brightest(), **RUN):
        assert not any(module.training for module in model.modules())
    assert modes == [(True, norm_trains)] * 12


@pytest.mark.parametrize("how", ["break", "close", "error", "end"])
def test_eval_mode_and_no_gradients_afterwards(how: str) -> None:
    model = reader()
    training = fit(model, brightest(), **RUN)
    for _ in training:
        assert model.out.weight.grad is not None
        if how == "break":
            break
        if how == "close":
            training.close()
        if how == "error":
            with pytest.raises(KeyError):
                training.throw(KeyError())
    del training
    assert not any(module.training for module in model.modules())
    assert model.out.weight.grad is None


def test_calling_it_changes_nothing_yet() -> None:
    model = reader().train()
    model.dropout.eval()
    before = state(model)
    fit(model, brightest(), **RUN)
    assert same(before, state(model))  # the running mean of the norm, too
    assert model.norm.training and not model.dropout.training
    assert model.seen == []


# what it refuses


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("steps", 0, "positive integer"),
        ("steps", 2.0, "positive integer"),
        ("steps", True, "positive integer"),
        ("lr", 0, "positive finite"),
        ("lr", -0.1, "positive finite"),
        ("lr", math.nan, "positive finite"),
        ("lr", math.inf, "positive finite"),
        ("lr", "0.1", "positive finite"),
        ("seed", -1, "integer from 0"),
        ("seed", 0.5, "integer from 0"),
        ("batch_size", 0, "positive integer"),
        ("eval_every", 0, "positive integer"),
        ("weight_decay", -1, "0 or above"),
        ("weight_decay", math.nan, "0 or above"),
        ("optimizer", "lion", "adam, sgd"),
    ],
)
def test_a_bad_argument_is_refused_at_the_call(name: str, value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` \(={value!r}\).*{rule}"):
        fit(reader(), brightest(), **{**RUN, name: value})


def test_a_frozen_model_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match=r"`model`.*all are frozen"):
        fit(reader().requires_grad_(False), brightest(), **RUN)


def test_more_classes_than_labels_are_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match=r"`task` \(='brightest'\).*has 4, the model 3"):
        fit(reader(labels=3), brightest(), **RUN)
    fit(reader(labels=5), brightest(), **RUN)


def test_a_vocabulary_too_small_for_the_text_is_refused_at_the_call() -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=200, **sizes))
    with pytest.raises(ValueError, match=r"`task` \(='text'\).*has 256, the model 200"):
        fit(model, load_task("text"), **RUN)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_an_empty_part_is_refused_at_the_call(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`task`.*{name} part is empty"):
        fit(reader(), dataclasses.replace(brightest(), **{name: part(0, 0)}), **RUN)


def test_images_of_another_size_are_refused_at_the_call() -> None:
    model = reader(labels=10).train()
    with pytest.raises(ValueError, match=r"`task` \(='digits'\) does not fit the model: .*64 elements not 4"):
        fit(model, load_task("digits"), **RUN)
    assert all(module.training for module in model.modules())


def test_a_model_without_a_loss_is_refused_at_the_call() -> None:
    model = reader()
    model.forward = lambda pixel_values, labels: SimpleNamespace(logits=pixel_values)
    with pytest.raises(ValueError, match=r"`model`.*`loss`, given pixel_values, labels"):
        fit(model, brightest(), **RUN)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad: float) -> None:
    model = reader()
    model.each_loss = lambda loss, step: loss * bad if step == 3 else loss
    training = fit(model, brightest(), **RUN)
    next(training), next(training)
    weight = model.out.weight.clone()
    with pytest.raises(FloatingPointError, match=r"loss of step 3 is (nan|inf).*after step 2.*`lr` \(=0.05\)"):
        next(training)
    assert torch.equal(model.out.weight, weight)
    assert not model.training


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(optimizer: str) -> None:
    model = reader()

    def each_loss(loss: Tensor, step: int) -> Tensor:
        weight = model.out.weight
        return loss + (weight - weight.detach()).abs().sqrt().sum() if step == 3 else loss  # 0, of slope inf · 0

    model.each_loss = each_loss
    training = fit(model, brightest(), optimizer=optimizer, **RUN)
    next(training), next(training)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    said = r"gradient of step 3 is not finite, in out\.weight first; the weights are those after step 2.*`lr` \(=0.05\)"
    with pytest.raises(FloatingPointError, match=said):
        next(training)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert all(weight.isfinite().all() for weight in before.values()) and not model.training


def test_a_large_gradient_is_finite_though_its_norm_is_not() -> None:
    model = reader()
    model.each_loss = lambda loss, step: loss * 1e25
    assert len(list(fit(model, brightest(), **RUN))) == RUN["steps"]


@pytest.mark.parametrize(
    ("measured", "number"),
    [
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.array(0.5), 0.5),
        (torch.tensor(0.25), 0.25),
        (math.nan, math.nan),
    ],
)
def test_a_metric_is_a_number_in_whatever_type(measured: object, number: float) -> None:
    steps = list(fit(reader(), brightest(), metric=lambda model, part: measured, **RUN))
    assert all(type(step.metric) is float and str(step.metric) == str(number) for step in steps)


@pytest.mark.parametrize("measured", [None, "0.5", {"accuracy": 0.5}, (0.5, 0.6), np.ones(1), torch.ones(2), 1j])
def test_a_metric_that_is_no_number_is_refused_at_the_first_measurement(measured: object) -> None:
    training = fit(reader(), brightest(), metric=lambda model, part: measured, **RUN)
    with pytest.raises(ValueError, match=rf"`metric` must return a number, and returned .*{type(measured).__name__}$"):
        next(training)


def test_what_a_metric_returned_is_said_in_short() -> None:
    training = fit(reader(), brightest(), metric=lambda model, part: "x" * 10_000, **RUN)
    with pytest.raises(ValueError, match="`metric`") as refused:
        next(training)
    assert len(str(refused.value)) < 200


def test_a_task_by_name_is_refused_with_the_way_to_have_it() -> None:
    with pytest.raises(ValueError, match=r"`task` \(='digits-turned'\) must be a Task; load_task"):
        fit(reader(), "digits-turned", steps=1, lr=0.1, seed=0)  # type: ignore[arg-type]
