"""A model and a task so small that a step takes a fraction of a millisecond, and a model that misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from glora_lab.data import Part, Task


class Reader(nn.Module):
    """Logits of four classes from 2×2 images; `each_loss` may change the loss of the n-th training step."""

    def __init__(self, *, dropout: float = 0.0, labels: int = 4) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(6, labels)
        self.config = SimpleNamespace(num_labels=labels)
        self.seen: list[Tensor] = []
        self.each_loss: Callable[[Tensor, int], Tensor] = lambda loss, step: loss

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        logits = self.out(self.dropout(torch.tanh(self.hidden(self.norm(pixel_values.flatten(1))))))
        if labels is None:
            return SimpleNamespace(logits=logits)
        loss = nn.functional.cross_entropy(logits, labels)
        if self.training and torch.is_grad_enabled():
            self.seen.append(pixel_values)
            loss = self.each_loss(loss, len(self.seen))
        return SimpleNamespace(loss=loss, logits=logits)


def reader(seed: int = 0, *, dropout: float = 0.0, labels: int = 4) -> Reader:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Reader(dropout=dropout, labels=labels).eval()


def part(n: int, seed: int) -> Part:
    pixels = torch.rand((n, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
    return Part({"pixel_values": pixels, "labels": pixels.flatten(1).argmax(1)})


def brightest(n: int = 40) -> Task:
    """Which of four pixels is the brightest?"""
    return Task("brightest", "Brightest", "", part(n, 1), part(20, 2), part(20, 3), num_classes=4)
