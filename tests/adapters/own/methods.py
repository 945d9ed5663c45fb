"""Methods in one class each: PEFT's own, and two that nobody has published."""

from __future__ import annotations

import torch
from peft.tuners.lokr.layer import factorization
from torch import nn

from glora_lab import DeltaMethod


class OuterProduct(DeltaMethod):
    def shapes(self, out, in_, r):
        return {"u": (out, r), "v": (r, in_)}

    def delta(self, w0, u, v):
        return u @ v


class OwnLora(DeltaMethod):
    alpha = 16

    def shapes(self, out, in_, r):
        return {"A": (r, in_), "B": (out, r)}

    def delta(self, w0, A, B):
        return self.alpha / self.r * B @ A

    def forward(self, x, w0, A, B):
        return self.alpha / self.r * (x @ A.T) @ B.T

    def blocks(self, A, B):
        return self.alpha / self.r * B[None, None], A.T[None, None]


class OwnVera(DeltaMethod):
    seed = 0

    def shapes(self, out, in_, r):
        return {"d": (r,), "b": (out,)}

    def fixed(self, out, in_, r):
        generator = torch.Generator().manual_seed(self.seed)
        return {"A": torch.randn(r, in_, generator=generator), "B": torch.randn(out, r, generator=generator)}

    def delta(self, w0, d, b, A, B):
        return (b[:, None] * B) @ (d[:, None] * A)


class OwnLoha(DeltaMethod):
    alpha = 8

    def shapes(self, out, in_, r):
        return {"w1_a": (out, r), "w1_b": (r, in_), "w2_a": (out, r), "w2_b": (r, in_)}

    def delta(self, w0, w1_a, w1_b, w2_a, w2_b):
        return self.alpha / self.r * (w1_a @ w1_b) * (w2_a @ w2_b)


class OwnLokr(DeltaMethod):
    alpha = 8

    def shapes(self, out, in_, r):
        (a, c), (b, d) = factorization(out, -1), factorization(in_, -1)
        return {"w1": (a, b), "w2_a": (c, r), "w2_b": (r, d)}

    def delta(self, w0, w1, w2_a, w2_b):
        return self.alpha / self.r * torch.kron(w1, w2_a @ w2_b)


class RowScale(DeltaMethod):
    """(IA)³ on a key or a value."""

    def shapes(self, out, in_, r):
        return {"scale": (out,)}

    def init(self, name, tensor):
        nn.init.ones_(tensor)

    def delta(self, w0, scale):
        return (scale - 1)[:, None] * w0

    def bias_delta(self, b0, scale):
        return None if b0 is None else (scale - 1) * b0


class OwnDora(DeltaMethod):
    alpha = 16

    def shapes(self, out, in_, r):
        return {"A": (r, in_), "magnitude": (out,), "B": (out, r)}

    def init(self, name, tensor, w0):
        if name == "magnitude":
            tensor.copy_(w0.norm(dim=1))
        else:
            super().init(name, tensor)

    def delta(self, w0, A, magnitude, B):
        turned = w0 + self.alpha / self.r * B @ A
        return (magnitude / turned.norm(dim=1).detach())[:, None] * turned - w0


class Ripple(DeltaMethod):
    """ΔW of a sine: of full rank, from two vectors, and a bias of its own."""

    strength = 0.5
    waves = True

    def shapes(self, out, in_, r):
        return {"rows": (out,), "columns": (in_,), "shift": (out,)}

    def init(self, name, tensor):
        if name == "columns":
            nn.init.normal_(tensor)
        else:
            nn.init.zeros_(tensor)

    def delta(self, w0, rows, columns):
        return self.strength * torch.sin(rows[:, None] * columns)

    def bias_delta(self, b0, shift):
        return shift


class Grid(DeltaMethod):
    """GraLoRA's blocks, of two by two."""

    def shapes(self, out, in_, r):
        return {"A": (2, 2, in_ // 2, r // 2), "B": (2, 2, out // 2, r // 2)}

    def delta(self, w0, A, B):
        return (B @ A.mT).transpose(1, 2).flatten(2).flatten(0, 1)

    def blocks(self, A, B):
        return B, A


METHODS = (OuterProduct, OwnLora, OwnVera, OwnLoha, OwnLokr, RowScale, OwnDora, Ripple, Grid)
