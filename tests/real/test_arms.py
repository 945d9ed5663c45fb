"""The arms: as many parameters at a budget, the same head, and B alone is LoRA."""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model

from glora_lab.ideas.budget.record import EQUAL
from glora_lab.real.arms import ARMS, BUDGETS, HEAD, LAYERS, SEARCHED, adapted, trained_params
from glora_lab.real.arms import _glora as glora
from glora_lab.real.changes import _matrices as matrices
from glora_lab.real.run import real_model, run
from glora_lab.training.loop import fit
from tests.real.stand_in import tiny_model, tiny_task

BUILT = [arm for arm in ARMS.values() if arm.name != SEARCHED]
TASK = tiny_task()


@pytest.mark.parametrize("budget", BUDGETS)
def test_all_arms_of_a_budget_have_as_many_parameters_on_minilm(budget: int) -> None:
    counts = {
        arm.name: trained_params(adapted(real_model(), arm.name, budget, 0)) for arm in BUILT if budget in arm.guess
    }
    assert counts["LoRA"] == budget * 6 * (4 * (384 + 384) + 2 * (384 + 1536))
    assert len(counts) == 6 and (max(counts.values()) - min(counts.values())) <= EQUAL * max(counts.values())


def test_all_train_the_same_head_and_the_36_layers_alone() -> None:
    base = tiny_model()
    for arm in BUILT:
        model = adapted(base, arm.name, arm.budgets[0], 0)
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        head = [name for name in trained if HEAD in name.split(".")]
        assert len(head) == 2, arm.name
        others = {name for name in trained if name not in head}
        if arm.name == "full fine-tuning":
            assert len(trained) == len(list(base.parameters()))
        else:
            assert all(".layer." in name for name in others), arm.name
    assert len(matrices(real_model())) == 36 and len(matrices(base)) == 12


def test_no_arm_but_the_trained_one_changes_what_the_model_says_at_the_start() -> None:
    base, batch = tiny_model(), TASK.test.rows(slice(0, 4))
    said = base(**batch).logits
    for arm in BUILT:
        assert torch.allclose(adapted(base, arm.name, arm.budgets[0], 0)(**batch).logits, said, atol=1e-6), arm.name


def test_path_b_alone_is_lora_from_the_same_draws_number_for_number() -> None:
    base, batch = tiny_model(), TASK.test.rows(slice(0, 8))
    lora = adapted(base, "LoRA", 8, 0)
    with torch.random.fork_rng():
        b_alone = get_peft_model(tiny_model(), glora(B="lora")(2 * 8))
    drawn = {name: p for name, p in lora.named_parameters() if "lora_A" in name}
    mine = [(name, p) for name, p in b_alone.named_parameters() if name.endswith("glora_B.default.Xu")]
    assert len(mine) == len(drawn) == 12 and trained_params(lora) == trained_params(b_alone)
    for name, parameter in mine:
        parameter.data.copy_(drawn[name.replace("glora_B.default.Xu", "lora_A.default.weight")].data)
    for model in (lora, b_alone):
        for _ in fit(model, TASK, steps=5, lr=1e-2, seed=3):
            pass
    assert torch.allclose(lora(**batch).logits, b_alone(**batch).logits, atol=1e-6)
    assert not torch.allclose(lora(**batch).logits, base(**batch).logits, atol=1e-3)


def test_no_scaling_goes_with_the_rank() -> None:
    for budget in BUDGETS:
        lora = ARMS["LoRA"].config(budget)
        assert isinstance(lora, LoraConfig) and lora.lora_alpha == lora.r == budget and not lora.use_rslora
        for k in (2, 4, 8):
            config = ARMS[f"GraLoRA k={k}"].config(budget)
            assert (config.alpha, config.r, config.gralora_k, config.hybrid_r) == (budget, budget, k, 0)
        assert ARMS["GLoRA A+B"].config(budget).alpha is None and ARMS["GLoRA A+B"].config(budget).r == budget // 2


def test_a_run_is_what_its_seed_and_rate_make_it_and_learns() -> None:
    given = {"base": tiny_model(), "task": TASK, "steps": 40}
    one, again, other = (run("LoRA", 8, lr, 0, **given) for lr in (2e-2, 2e-2, 1e-5))
    assert (one.validation, one.test, one.params) == (again.validation, again.test, again.params)
    assert one.validation > other.validation + 0.1
    diverged = run("full fine-tuning", 0, 1e30, 0, **given)
    assert math.isnan(diverged.test) and math.isnan(diverged.validation) and diverged.params > one.params


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`name` \(='QLoRA'\)"):
        adapted(tiny_model(), "QLoRA", 8, 0)
    with pytest.raises(ValueError, match=r"`budget` \(=16\) must be one of LoRA's: 8, 32, 128"):
        adapted(tiny_model(), "LoRA", 16, 0)
    with pytest.raises(ValueError, match=r"`found` \(=None\) must be a configuration for GLoRA, searched"):
        adapted(tiny_model(), SEARCHED, 8, 0)
    assert LAYERS.startswith(".*encoder")
