"""TrainPanel, fit, TrainSession and Race on a reader's own model and data: it reads texts, images, rows, or writes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glora_lab import TrainSession, fit, load_model, load_task, task_from
from glora_lab.adapters import GloraConfig
from glora_lab.data import Task
from glora_lab.page.controls.example import adapt
from glora_lab.panels import TrainPanel
from glora_lab.records import Predictions, Readings, Writing
from glora_lab.training import Race, evaluate
from tests.data.own_data import PARTS, Table, bert, images, llama, table, tokenizer, vit

Case = tuple[Callable[[], nn.Module], Callable[[nn.Module], Task], type]
TEXTS = [[text for text, _ in part] for part in PARTS]
NAMED = [[(text, ("bad", "good")[label]) for text, label in part] for part in PARTS]


def ids(texts: Any) -> torch.Tensor:
    return torch.nn.functional.pad(tokenizer()(texts, padding=True, return_tensors="pt")["input_ids"], (0, 5))[:, :5]


def rows(parts: list[Any]) -> list[list[dict[str, Any]]]:
    """As a dataset for `Trainer` holds them."""
    return [[{"pixel_values": x, "labels": y} for x, y in zip(*part, strict=True)] for part in parts]


IMAGES = [images(n, seed) for n, seed in ((12, 1), (6, 2), (6, 3))]
WINDOWS = torch.randint(31, (32, 8), generator=torch.Generator().manual_seed(0)).split([16, 8, 8])
CASES: dict[str, Case] = {
    "bert, pairs": (bert, lambda m: task_from(*PARTS, tokenizer=tokenizer(), model=m), Readings),
    "bert, names": (bert, lambda m: task_from(*NAMED, tokenizer=tokenizer(), model=m), Readings),
    "bert, dataset": (bert, lambda m: task_from(*map(table, PARTS), tokenizer=tokenizer()), Readings),
    "bert, tensors": (bert, lambda m: task_from(*(
        (ids([text for text, _ in part]), torch.tensor([label for _, label in part])) for part in PARTS)), Readings),
    "vit, tensors": (vit, lambda m: task_from(*IMAGES), Predictions),
    "vit, rows": (vit, lambda m: task_from(*rows(IMAGES), model=m), Predictions),
    "llama, texts": (llama, lambda m: task_from(*TEXTS, tokenizer=tokenizer(), model=m), Writing),
    "llama, dataset": (llama, lambda m: task_from(
        *(Table({"text": texts}) for texts in TEXTS), tokenizer=tokenizer()), Writing),
    "llama, tensors": (llama, lambda m: task_from(*({"input_ids": w} for w in WINDOWS), model=m), Readings),
    "llama, bytes": (lambda: llama(256), lambda m: task_from(*({"input_ids": w} for w in WINDOWS), model=m), Writing),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Task, type]:
    make, task_of, answers = CASES[request.param]
    model = make()
    return model, task_of(model), answers


def test_the_panel_trains_and_shows_what_the_model_answers(case: tuple[nn.Module, Task, type]) -> None:
    model, task, answers = case
    weights = copy.deepcopy(model.state_dict())
    panel = TrainPanel(model, task, method="LoRA", rank=2, steps=3)
    assert panel.task is task and panel.controls.task.options == ((task.title, task.name),)
    assert isinstance(panel.predictions["frozen"], answers) and panel.live.answers.summary
    panel.train()
    assert len(panel.wait()) == 3 and panel.errors == [] and panel.problem == ""
    assert all(isinstance(answer, answers) for answer in panel.predictions.values())
    assert list(panel.predictions) == ["frozen", "adapted"]
    assert panel.runs[0].metric == evaluate(panel.model, task.test)
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    panel.close()


def test_the_panel_races(case: tuple[nn.Module, Task, type]) -> None:
    model, task, _ = case
    panel = TrainPanel(model, task, method="LoRA", preset="A + B", rank=4, k=2, steps=2)
    panel.race()
    panel.wait()
    assert len(panel.runs) == 3 and panel.errors == [] and panel.problem == ""
    assert list(panel.predictions) == ["frozen", "LoRA", "GLoRA", "GraLoRA"]
    panel.close()


def test_without_a_panel_they_learn_it_too(case: tuple[nn.Module, Task, type]) -> None:
    model, task, _ = case
    config = GloraConfig.only(B="lora", r=4, target_modules="all-linear")
    one, two, three = (adapt(copy.deepcopy(model), config, seed=seed) for seed in (0, 0, 1))
    steps = list(fit(one, task, steps=30, lr=0.01, seed=0))
    assert np.mean([step.loss for step in steps[-5:]]) < steps[0].loss
    session = TrainSession(two, task, steps=5, lr=0.01, seed=0)
    session.start()
    assert [step.loss for step in session.wait()] == [step.loss for step in steps[:5]]
    race = Race({"two": two, "three": three}, task, steps=2, lr=0.01, seed=0)
    race.start()
    assert len(race.wait()) == 4


def test_what_is_shown_is_what_was_asked() -> None:
    model = bert()
    panel = TrainPanel(model, task_from(*NAMED, tokenizer=tokenizer(), model=model), steps=1)
    frozen = panel.predictions["frozen"]
    assert frozen.examples[0] == "so film is very bad" and set(frozen.labels) == {"bad", "good"}
    part = panel.task.test
    answers = model(**{key: rows[:1] for key, rows in part.inputs.items()}).logits.softmax(-1)[0]
    assert frozen.said[0] == ("bad", "good")[answers.argmax()]
    assert frozen.confidence[0] == pytest.approx(answers.max().item())
    panel.close()


def test_a_text_to_write_on_is_asked_for_its_last_token() -> None:
    model = llama()
    task = task_from(*({"input_ids": w} for w in WINDOWS), model=model)
    panel = TrainPanel(model, task, steps=1)
    frozen, window = panel.predictions["frozen"], task.test.inputs["input_ids"][0]
    assert frozen.examples[0] == " ".join(map(str, window[:-1].tolist())) and frozen.labels[0] == str(int(window[-1]))
    assert frozen.said[0] == str(int(model(window[None]).logits[0, -2].argmax()))
    panel.close()


def test_prompts_are_the_beginnings_of_texts_of_the_test_part() -> None:
    model = llama()
    panel = TrainPanel(model, task_from(*TEXTS, tokenizer=tokenizer(), model=model), steps=1)
    frozen = panel.predictions["frozen"]
    assert frozen.prompts[0] == "so film" and all(word in tokenizer().get_vocab() for word in frozen.texts[0].split())
    assert "capitals" not in panel.live.answers.figure.layout.title.text
    panel.close()


def test_rows_of_numbers_are_shown_as_such() -> None:
    parts = [({"x": torch.rand(8, 9, generator=torch.Generator().manual_seed(n))}, torch.arange(8) % 3)
             for n in range(3)]  # fmt: skip

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.score = nn.Linear(9, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            logits = self.score(torch.tanh(self.body(x)))
            loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
            return type("Answer", (), {"logits": logits, "loss": loss})

    panel = TrainPanel(Plain(), task_from(*parts), method="LoRA", rank=2, steps=2)
    panel.train()
    panel.wait()
    first = ", ".join(f"{number:.2g}" for number in panel.task.test.inputs["x"][0, :6].tolist())
    assert panel.predictions["adapted"].examples[0] == f"{first} …" and panel.errors == []
    panel.close()


WRONG: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "a name": (
        bert,
        lambda: None,
        r"`task` \(=None\) must be a task of your own data, from task_from: none",
    ),
    "something else": (bert, lambda: 3, r"`task` \(=3\) must be a Task, as task_from makes one, or one of digits-"),
    "labels of texts": (
        llama,
        lambda: task_from(*PARTS, tokenizer=tokenizer()),
        r"has labels of each text \(n,\): .* LlamaForCausalLM does$",
    ),
    "more classes": (lambda: vit(2), lambda: task_from(*IMAGES), "it has 3, the model 2"),
    "other images": (lambda: vit(size=16), lambda: task_from(*IMAGES), "does not fit the model"),
    "text for images": (vit, lambda: task_from(*PARTS, tokenizer=tokenizer()), "must have `pixel_values`"),
    "windows for a reader": (
        bert,
        lambda: task_from(*({"input_ids": w} for w in WINDOWS)),
        r"has labels of its tokens \(n, t\): .* does not$",
    ),
    "digits of another seed": (bert, lambda: load_task("digits-turned", seed=1), "must have `input_ids`"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said_before_there_is_a_panel(what: str) -> None:
    model, task, words = WRONG[what]
    with pytest.raises(ValueError, match=words):
        TrainPanel(model(), task())


def test_a_state_leaves_model_and_data_to_the_reader() -> None:
    model, task = bert(), task_from(*NAMED, tokenizer=tokenizer())
    panel = TrainPanel(model, task, method="LoRA", rank=2)
    panel.controls.rank.value = 3
    again = TrainPanel.from_state(panel.state, model, task)
    assert again.task is task and again.controls.rank.value == 3 and again.state == panel.state
    panel.close()
    again.close()


def test_a_task_of_the_package_may_be_given_with_another_seed() -> None:
    panel = TrainPanel(load_model("digits-vit"), load_task("digits-turned", seed=1), steps=1)
    same = load_task("digits-turned", seed=1).test.inputs["pixel_values"]
    assert torch.equal(panel.task.test.inputs["pixel_values"], same)
    panel.close()
