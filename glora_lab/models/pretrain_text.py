"""How the shipped weights of `bytes-llama` were made: `python -m glora_lab.models.pretrain_text [--out DIR]`.

A Llama of three layers over bytes, from random weights, on the help topics of the Python that runs the script
(`glora_lab.data.corpus`). One thread makes it reproducible, in five to eight minutes. The shipped weights come from
Python 3.11. Nothing is in capitals but what is so in the topics, for that is a task that the model must not know.
Decision: `initializer_range` is 0.05, more than Llama's 0.02, for so narrow a model learns faster from it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from glora_lab.data import BYTES, encode, load_task
from glora_lab.data.corpus import pretraining_text
from glora_lab.folders import folder_named, replacing

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedModel

STEPS = 4000  # some fifteen times over the text
BATCH_SIZE = 8
WINDOW = 128  # bytes
PEAK_LR = 4e-3
WEIGHT_DECAY = 0.1
SEED = 0


def bytes_llama_config() -> LlamaConfig:
    """The shape of `bytes-llama`: a token a byte, 128 channels, 3 layers, no biases; byte 0 is the padding."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=BYTES,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.05,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )


def pretrain(*, steps: int = STEPS, seed: int = SEED) -> PreTrainedModel:
    """A `bytes-llama` after `steps` of training, in eval mode; the same seed gives the same weights.

    Shorter runs follow the same schedule squeezed into fewer steps. The caller's random state is kept.
    """
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(bytes_llama_config()).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps, pct_start=0.1)
    windows = encode(pretraining_text()).unfold(0, WINDOW, 1)  # (n, t), one from every byte on
    for _ in range(steps):
        batch = windows[torch.randint(len(windows), (BATCH_SIZE,), generator=generator)]
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m glora_lab.models.pretrain_text", description=__doc__)
    shipped = Path(__file__).parent / "bytes_llama"
    parser.add_argument("--out", default=shipped, help="where to write the model (default: %(default)s)")
    out = Path(folder_named("out", parser.parse_args(arguments).out))
    torch.set_num_threads(1)
    model = pretrain()
    with replacing(out, "config.json") as folder:
        model.save_pretrained(folder)
    test = load_task("text").test
    with torch.no_grad():
        predicted = model(input_ids=test.inputs["input_ids"]).logits[:, :-1].argmax(-1)
    accuracy = (predicted == test.labels[:, 1:]).float().mean().item()
    print(f"{out}: {model.num_parameters():,} parameters, {accuracy:.3f} of {test.labels[:, 1:].numel():,} bytes right")


if __name__ == "__main__":
    main()
