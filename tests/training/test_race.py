"""Race: each model learns as it would alone, in turns; one that fails drops out and is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from glora_lab.records import Step
from glora_lab.training import Race, fit
from tests.training.reader import Reader, brightest, reader

pytestmark = pytest.mark.timeout(300)
NUMBERS = {"steps": 8, "lr": 0.05, "seed": 3}


def breaking(at: int) -> Reader:
    """A model whose training fails at that step."""

    def no_more(loss: Tensor, step: int) -> Tensor:
        if step == at:
            raise RuntimeError("no more")
        return loss

    made = reader()
    made.each_loss = no_more
    return made


def race(models: dict[str, nn.Module], **numbers: object) -> Race:
    return Race(models, brightest(), **{**NUMBERS, **numbers})  # type: ignore[arg-type]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def numbers(steps: tuple[Step, ...] | list[Step]) -> list[tuple[int, float, float]]:
    return [(step.index, step.loss, step.metric) for step in steps]


def test_each_learns_what_it_would_learn_alone() -> None:
    made = race({"one": reader(), "other": reader(1)})
    assert (made.state, made.total, made.lines) == ("ready", 16, {"one": (), "other": ()})
    made.start()
    steps = made.wait()
    assert made.state == "done" and made.errors == {} and len(steps) == 16
    for name, model in {"one": reader(), "other": reader(1)}.items():
        assert numbers(made.lines[name]) == numbers(list(fit(model, brightest(), **NUMBERS)))
    assert numbers(made.lines["one"]) != numbers(made.lines["other"])


def test_they_take_turns_and_see_the_same_batches_in_the_same_order() -> None:
    models = {"a": reader(), "b": reader(1), "c": reader()}
    made = race(models)
    made.start()
    assert [step.index for step in made.wait()] == [index for index in range(1, 9) for _ in "abc"]
    for batches in zip(*(model.seen for model in models.values()), strict=True):
        assert all(torch.equal(batch, batches[0]) for batch in batches)
    assert len(models["a"].seen) == 8


def test_a_pause_and_a_stop_are_for_all() -> None:
    made = race({"a": reader(), "b": reader(1)}, steps=100_000)
    made.start()
    until(lambda: len(made.steps) > 4)
    made.pause()
    until(lambda: made.state == "paused")
    resting = len(made.steps)
    time.sleep(0.05)
    assert len(made.steps) == resting
    made.resume()
    until(lambda: len(made.steps) > resting)
    made.stop()
    made.wait()
    a, b = (len(line) for line in made.lines.values())
    assert made.state == "stopped" and a - b in (0, 1) and a + b == len(made.steps) < made.total
    assert made.errors == {}


@pytest.mark.parametrize("first", ["good", "bad"])
def test_one_that_fails_drops_out_and_the_others_go_on(first: str) -> None:
    models = {"good": reader(), "bad": breaking(4), "fine": reader(1)}
    made = race({first: models.pop(first), **models})
    made.start()
    with pytest.raises(RuntimeError, match="no more"):
        made.wait()
    assert made.state == "failed" and list(made.errors) == ["bad"] and str(made.errors["bad"]) == "no more"
    lengths = {name: len(line) for name, line in made.lines.items()}
    assert lengths["good"] == lengths["fine"] == 8 and lengths["bad"] == 3
    assert numbers(made.lines["good"]) == numbers(list(fit(reader(), brightest(), **NUMBERS)))


def test_where_all_fail_the_race_is_over() -> None:
    made = race({"a": breaking(3), "b": breaking(3)})
    made.start()
    with pytest.raises(RuntimeError, match="no more"):
        made.wait()
    assert set(made.errors) == {"a", "b"} and made.finished


def test_the_time_left_counts_every_racers_steps() -> None:
    made = race({"a": reader(), "b": reader(1)}, steps=10)
    for name, seconds in (("a", 1.0), ("b", 3.0)):
        step = Step(4, 0.5, 0.5, seconds=seconds)
        made._lines[name].append(step)
        made._steps.append(step)
    assert made.seconds_left == pytest.approx((1.0 + 3.0) / 8 * 12)


def test_models_rest_in_eval_mode_after_a_stop() -> None:
    models = {"a": reader(), "b": reader(1)}
    made = race(models, steps=100_000)
    made.start()
    until(lambda: len(made.steps) > 1)
    made.stop()
    made.wait()
    assert not any(model.training for model in models.values())


def test_what_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"`models` \(=\['a'\]\) must name two models or more"):
        race({"a": reader()})
    with pytest.raises(ValueError, match="`steps`"):
        race({"a": reader(), "b": reader(1)}, steps=0)
