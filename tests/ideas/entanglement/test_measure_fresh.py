"""A report from G alone is that of the model with the adapter on it, number for number."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model

from glora_lab.adapters import GraloraConfig
from glora_lab.data import load_task
from glora_lab.ideas.entanglement.measure_fresh import fresh_report
from glora_lab.measure import gradient_report
from glora_lab.models import load_model

LAYER = "layers.1.mlp.fc1"
CONFIGS = [LoraConfig(r=8, target_modules=[LAYER]), GraloraConfig(r=8, gralora_k=4, target_modules=[LAYER])]


@pytest.mark.parametrize("config", CONFIGS, ids=["LoRA", "GraLoRA"])
@pytest.mark.parametrize("scaling", ["equal decrease", "as is"])
def test_it_is_the_report_of_the_model(config: PeftConfig, scaling: str) -> None:
    torch.manual_seed(3)
    adapted = get_peft_model(load_model("digits-vit"), config)
    batch = load_task("digits-turned").train.rows(slice(0, 8))
    of_model = gradient_report(adapted, batch, LAYER, scaling=scaling)
    before = torch.random.get_rng_state()
    alone = fresh_report(of_model.layer, torch.from_numpy(of_model.full), config, scaling=scaling, seed=3)
    assert alone == of_model
    assert torch.equal(torch.random.get_rng_state(), before) and config.target_modules == {LAYER}


def test_another_seed_draws_another_adapter_and_what_cannot_be_is_refused() -> None:
    gradient = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    first, again, other = (fresh_report("a", gradient, LoraConfig(r=2), seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
    with pytest.raises(ValueError, match=r"`scaling` \(='none'\) must be one of: as is"):
        fresh_report("a", gradient, LoraConfig(r=2), scaling="none")
    with pytest.raises(ValueError, match="gralora_k"):
        fresh_report("a", gradient, GraloraConfig(r=6, gralora_k=5))
