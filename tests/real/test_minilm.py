"""With the real weights: a short run of an arm repeats, learns nothing that it should not, and moves what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from glora_lab.data import Task
from glora_lab.ideas.real.record import RealRuns
from glora_lab.real.arms import HEAD, SEARCHED, adapted, trained_params
from glora_lab.real.changes import _matrices as matrices
from glora_lab.real.merging import drift_rows
from glora_lab.real.run import real_model, run, task_of, trained_model
from glora_lab.real.searching import found_config, space
from glora_lab.real.stored import rerun


@pytest.fixture(scope="module")
def short() -> Task:
    """A few of the texts, the shortest."""
    task = task_of(0)

    def some(name: str, count: int) -> object:
        part = getattr(task, name)
        return type(part)(part.rows(part.lengths.argsort(stable=True)[:count]))

    return replace(task, train=some("train", 64), validation=some("validation", 40), test=some("test", 50))


def test_a_run_repeats_and_leaves_the_model_as_it_was(short: Task) -> None:
    before = [parameter.clone() for parameter in real_model().parameters()]
    one, again = (run("GLoRA, all paths", 8, 1e-3, 1, task=short, steps=3) for _ in range(2))
    assert (one.validation, one.test, one.params) == (again.validation, again.test, 329_472)
    assert all(map(torch.equal, before, real_model().parameters()))
    assert round(one.test * 50) == pytest.approx(one.test * 50) and one.seed == 1


def test_full_fine_tuning_moves_all_36_matrices_and_lora_none(short: Task) -> None:
    before = matrices(real_model())
    full = matrices(trained_model("full fine-tuning", 0, 1e-4, 0, task=short, steps=1))
    assert all(not torch.equal(full[name], matrix) for name, matrix in before.items())
    lora = trained_model("LoRA", 8, 1e-3, 0, task=short, steps=1)
    base = lora.get_base_model().bert.encoder.layer[3].intermediate.dense.base_layer.weight
    assert torch.equal(base.double(), before["3.intermediate.dense"])


def test_seeds_deal_the_texts_anew_and_other_arms_get_the_same() -> None:
    one, other = task_of(0).test.inputs["input_ids"], task_of(1).test.inputs["input_ids"]
    assert not torch.equal(one[:50, :4], other[:50, :4])
    assert task_of(0) is task_of(0)


def test_what_was_found_is_read_and_trained_with_the_head() -> None:
    choice = space().alike(rank=8, B="lora")
    found = {"8": {"choice": space().written(choice), "name": "rank 8"}}
    model = adapted(real_model(), SEARCHED, 8, 0, found_config(found, 8))
    lora = adapted(real_model(), "LoRA", 8, 0)
    assert trained_params(model) == trained_params(lora) == space().params(choice)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert sum(HEAD in name.split(".") for name in trained) == 2


def test_a_stored_run_is_made_anew_at_its_best_rate(short: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glora_lab.real.run.task_of", lambda seed: short)
    stored = RealRuns((run("LoRA", 8, 1e-3, 0, task=short, steps=2),), {"steps": 2, "search": {"found": None}})
    again = rerun("LoRA", 8, stored=stored)
    assert again.test == stored.runs[0].test and again.validation != again.validation
    assert stored.cell("LoRA", 8).holds(again.test)
    with pytest.raises(ValueError, match="was not run"):
        rerun("LoRA", 32, stored=stored)


def test_merging_it_in_bfloat16_is_measured_beside_stock(short: Task) -> None:
    model = trained_model("GraLoRA k=4", 8, 2e-3, 0, task=short, steps=2)
    rows = {row.by: row for row in drift_rows("GraLoRA k=4", model, cycles=(1, 2))}
    assert rows["glora_lab"].drift == {1: 0.0, 2: 0.0} and rows["glora_lab"].changed == 0.0
    assert rows["stock PEFT"].drift[2] >= rows["stock PEFT"].drift[1] > 0.0 and rows["stock PEFT"].changed > 0.0
    assert rows["glora_lab"].effect == rows["stock PEFT"].effect > 0.0
