"""How the shipped weights of `digits-vit` were made: `python -m glora_lab.models.pretrain [--out DIR]`.

A vision transformer of three layers on 8×8 scans, from random weights, on the 1,000 pretraining images of
`glora_lab.data`. About half a minute on one thread, which also makes it reproducible. Half of the batches
are shifted by up to one pixel; nothing is turned, mirrored or inverted, for those are the tasks that the
model must not know. Decision: `initializer_range` is 0.1, five times ViT's default, since with 0.02 so small
a model needs far longer to tell positions apart (95% instead of 99% right after the same steps).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glora_lab.data import CLASSES, load_task, pretraining_part
from glora_lab.folders import folder_named, replacing

if TYPE_CHECKING:
    from jaxtyping import Float
    from transformers import PreTrainedModel, ViTConfig

STEPS = 1280  # 80 times over the pretraining images
BATCH_SIZE = 64
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.05
SEED = 0


def digits_vit_config() -> ViTConfig:
    """The shape of `digits-vit`: 16 patches of 2×2 pixels and a class token, 64 channels, 3 layers."""
    from transformers import ViTConfig

    return ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.1,
        id2label={digit: str(digit) for digit in range(CLASSES)},
        label2id={str(digit): digit for digit in range(CLASSES)},
    )


def pretrain(*, steps: int = STEPS, seed: int = SEED) -> PreTrainedModel:
    """A `digits-vit` after `steps` of training, in eval mode; the same seed gives the same weights.

    Shorter runs follow the same schedule squeezed into fewer steps. The caller's random state is kept.
    """
    from transformers import ViTForImageClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViTForImageClassification(digits_vit_config()).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps, pct_start=0.1)
    part = pretraining_part()
    done = 0
    while done < steps:
        for index in torch.randperm(len(part), generator=generator).split(BATCH_SIZE)[: steps - done]:
            batch = part.rows(index)
            if torch.rand((), generator=generator) < 0.5:
                batch["pixel_values"] = shifted(batch["pixel_values"], generator)
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
    return model.eval()


def shifted(images: Float[Tensor, "n 1 h w"], generator: torch.Generator) -> Float[Tensor, "n 1 h w"]:
    """Each image moved by -1, 0 or 1 pixel along both axes, paper (0) coming in from outside."""
    n, _, h, w = images.shape
    down, right = torch.randint(0, 3, (2, n, 1, 1), generator=generator)  # 1 leaves the image where it is
    padded = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1))  # (n, h + 2, w + 2)
    image = torch.arange(n)[:, None, None]
    rows = torch.arange(h)[None, :, None] + down
    columns = torch.arange(w)[None, None, :] + right
    return padded[image, rows, columns][:, None]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m glora_lab.models.pretrain", description=__doc__)
    shipped = Path(__file__).parent / "digits_vit"
    parser.add_argument("--out", default=shipped, help="where to write the model (default: %(default)s)")
    out = Path(folder_named("out", parser.parse_args(arguments).out))
    torch.set_num_threads(1)
    model = pretrain()
    with replacing(out, "config.json") as folder:
        model.save_pretrained(folder)
    test = load_task("digits").test
    with torch.no_grad():
        predicted = model(pixel_values=test.inputs["pixel_values"]).logits.argmax(-1)
    accuracy = (predicted == test.labels).float().mean().item()
    print(f"{out}: {model.num_parameters():,} parameters, {accuracy:.3f} of {len(test)} new digits right")


if __name__ == "__main__":
    main()
