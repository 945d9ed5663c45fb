"""transformers' Trainer: a run that is interrupted and resumed ends with the bits of one that was not."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.utils.data import Dataset

from glora_lab import load_adapter
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER

from .small_models import INERT, bits, expecting, gpt2, llama, same_bits

# transformers 5.23 calls it activation checkpointing, 5.15 does not know the name
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
STEPS, HALF = 6, 3
BIASES = "glora_only" if PEFT_ASKS_THE_TUNER else "none"  # PEFT 0.20 saves none
CONFIGS = {
    "GLoRA": (gpt2, GloraConfig(r=2, config_D="none", config_E="vector", glora_dropout=0.2)),
    "GLoRA over all, vectors": (llama, GloraConfig(config_A_B="vector", target_modules="all-linear", bias_free="add")),
    "GLoRA and whole modules": (gpt2, GloraConfig(r=2, bias=BIASES, modules_to_save=["wte"])),
    "GraLoRA": (gpt2, GraloraConfig(r=4, hybrid_r=2, gralora_dropout=0.2)),
}


class Lines(Dataset):
    """Sixteen lines of eight tokens."""

    def __init__(self) -> None:
        self.ids = torch.randint(3, 64, (16, 8), generator=torch.Generator().manual_seed(2))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.ids[index]}


def trainer(folder: Path, name: str, **settings) -> transformers.Trainer:
    torch.manual_seed(4)
    make, config = CONFIGS[name]
    with expecting(INERT):
        model = peft.get_peft_model(make(), config)
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=STEPS, save_steps=HALF, per_device_train_batch_size=2, learning_rate=1e-2, use_cpu=True,
        report_to=[], disable_tqdm=True, logging_steps=1, **settings,
    )  # fmt: skip
    return transformers.Trainer(model, arguments, train_dataset=Lines())


def adapter(model: peft.PeftModel) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("checkpointing", [{}, {"gradient_checkpointing": True}], ids=["", "checkpointing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_resuming_gives_the_bits_of_an_unbroken_run(tmp_path, name, checkpointing):
    unbroken = trainer(tmp_path, name, **checkpointing)
    start = bits(unbroken.model)
    unbroken.train()
    trained = adapter(unbroken.model)
    assert not any(torch.equal(start[n], p) for n, p in trained.items())

    resumed = trainer(tmp_path / "again", name, **checkpointing)
    assert same_bits(resumed.model, start)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{HALF}"))
    assert same_bits(resumed.model, bits(unbroken.model))
    losses = [[entry["loss"] for entry in t.state.log_history if "loss" in entry] for t in (unbroken, resumed)]
    assert losses[0] == losses[1] and len(losses[0]) == STEPS

    saved = load_file(tmp_path / f"checkpoint-{STEPS}" / "adapter_model.safetensors")
    assert len(saved) == len(trained)
    torch.manual_seed(4)
    with expecting(INERT):
        loaded = load_adapter(CONFIGS[name][0](), tmp_path / f"checkpoint-{STEPS}")
    ids = Lines()[0]["input_ids"][None]
    assert torch.equal(loaded.eval()(ids).logits, unbroken.model.eval()(ids).logits)


@pytest.mark.parametrize("name", ["GLoRA", "GraLoRA"])
def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path, name):
    trainer(tmp_path, name).train()
    weights = tmp_path / f"checkpoint-{HALF}" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    again = trainer(tmp_path / "again", name)
    before = bits(again.model)
    with pytest.raises(ValueError, match="truncated or damaged"):
        again.train(resume_from_checkpoint=str(weights.parent))
    assert same_bits(again.model, before)
