"""What cannot be a method is refused before a model is touched, and the refusal says what was expected."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import nn

from glora_lab import DeltaMethod
from tests.adapters.block_models import BlockNet
from tests.adapters.small_models import bits, same_bits


def product(self, w0, u, v):
    return u @ v


def shapes(self, out, in_, r):
    return {"u": (out, r), "v": (r, in_)}


def with_(**members):
    return {"shapes": shapes, "delta": product, **members}


def ones(self, name, tensor):
    nn.init.ones_(tensor)


def zeros(self, name, tensor):
    nn.init.zeros_(tensor)


WRONG = {
    "no shapes": ({"delta": product}, r"must define shapes\(self, out, in_, r\)"),
    "no delta": ({"shapes": shapes}, r"must define delta\(self, w0, \*\*tensors\)"),
    "a list": (with_(shapes=lambda s, out, in_, r: [(out, r)]), "must return a dict of names and shapes"),
    "empty": (with_(shapes=lambda s, out, in_, r: {}), "must return a dict of names and shapes"),
    "zero": (with_(shapes=lambda s, out, in_, r: {"u": (out, 0), "v": (0, in_)}), "each of positive integers"),
    "negative": (with_(shapes=lambda s, out, in_, r: {"u": (-out, r), "v": (r, in_)}), "each of positive integers"),
    "a float": (with_(shapes=lambda s, out, in_, r: {"u": (out / 2, r), "v": (r, in_)}), "each of positive integers"),
    "a bool": (with_(shapes=lambda s, out, in_, r: {"u": (True, r), "v": (r, in_)}), "each of positive integers"),
    "a number": (with_(shapes=lambda s, out, in_, r: {"u": out, "v": (r, in_)}), "each of positive integers"),
    "raises": (with_(shapes=lambda s, out, in_, r: {"u": (out, undefined)}), "raises NameError"),  # noqa: F821
    "dotted": (with_(shapes=lambda s, out, in_, r: {"u.x": (out, r)}), "names that Python takes for an argument"),
    "private": (with_(shapes=lambda s, out, in_, r: {"_u": (out, r)}), "names that Python takes for an argument"),
    "no name": (with_(shapes=lambda s, out, in_, r: {3: (out, r)}), "names that Python takes for an argument"),
    "w0": (with_(shapes=lambda s, out, in_, r: {"w0": (out, in_)}), "this name has a meaning already"),
    "train": (with_(shapes=lambda s, out, in_, r: {"train": (out, in_)}), "this name has a meaning already"),
    "training": (with_(shapes=lambda s, out, in_, r: {"training": (out, in_)}), "this name has a meaning already"),
    "twice": (with_(fixed=lambda s, out, in_, r: {"u": torch.ones(out)}), "name of a trained tensor as well"),
    "fixed list": (with_(fixed=lambda s, out, in_, r: [torch.ones(out)]), "must return a dict of names and tensors"),
    "fixed shape": (with_(fixed=lambda s, out, in_, r: {"p": (out, r)}), "must return a dict of names and tensors"),
    "turned": (with_(delta=lambda s, w0, u, v: (u @ v).T), r"delta` \(=\(24, 48\)\) must return .*of shape \(48, 24\)"),
    "a row": (with_(delta=lambda s, w0, u, v: (u @ v)[0]), r"\(=\(24,\)\) must return a tensor of shape \(48, 24\)"),
    "no tensor": (with_(delta=lambda s, w0, u, v: 0.0), r"must return a tensor of shape \(48, 24\), not a float"),
    "rounded": (with_(delta=lambda s, w0, u, v: (u @ v).float()), "must return the precision that it is given"),
    "does not fit": (with_(delta=lambda s, w0, u, v: v @ u @ u), "raises RuntimeError"),
    "own precision": (with_(delta=lambda s, w0, u, v: torch.eye(48) @ u @ v), "must work in the precision of what"),
    "unknown": (with_(delta=lambda s, w0, u, w: u @ w), r"delta` \(='w'\) asks for a tensor that is not .* u, v"),
    "idle": (with_(delta=lambda s, w0, u: 0 * u @ torch.ones(4, 24, dtype=u.dtype)), r"no gradient|at the start"),
    "detached": (with_(delta=lambda s, w0, u, v: u.detach() @ v), r"delta` \(='u'\).*gets no gradient"),
    "all detached": (with_(delta=lambda s, w0, u, v: (u @ v).detach()), r"delta` \(='u, v'\).*gets no gradient"),
    "starts": (with_(init=ones), "must be 0 at the start.*starts_at_zero = False"),
    "cannot start": (with_(init=zeros), "no step of training leads away"),
    "nan": (with_(delta=lambda s, w0, u, v: u @ v / 0), "must be finite at the start"),
    "root": (with_(delta=lambda s, w0, u, v: u @ v.abs().sqrt()), r"'v'\) must have a finite gradient at the start"),
    "forward": (with_(forward=lambda s, x, w0, u, v: 2 * x @ v.T @ u.T), "forward.*must give x·ΔWᵀ"),
    "forward size": (with_(forward=lambda s, x, w0, u, v: x), r"forward` .*shape \(2, 3, 48\)"),
    "bias": (with_(bias_delta=lambda s, b0, u: u.sum()), r"bias_delta` \(=\(\)\) must return .* of shape \(48,\)"),
    "bias starts": (with_(bias_delta=lambda s, b0, u: u[:, 0] + 1), "must be 0 at the start"),
    "blocks": (with_(blocks=lambda s, u, v: (2 * u[None, None], v.T[None, None])), "blocks.*must give the factors"),
    "blocks size": (with_(blocks=lambda s, u, v: (u, v)), "blocks"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_refused_with_the_model_as_it_was(wrong):
    members, words = WRONG[wrong]
    method = type("Wrong", (DeltaMethod,), members)
    model = BlockNet()
    before = bits(model)
    with pytest.raises(ValueError, match=words) as refusal:
        peft.get_peft_model(model, method.config(r=4, target_modules=["encoder"]))
    assert "Wrong." in str(refusal.value) or "Wrong must" in str(refusal.value)
    assert len(str(refusal.value)) < 700
    assert same_bits(model, before) and not hasattr(model, "peft_config")


def test_a_second_adapter_that_is_wrong_leaves_the_first():
    model = peft.get_peft_model(BlockNet(), type("Right", (DeltaMethod,), with_()).config(target_modules=["encoder"]))
    before = bits(model)
    with pytest.raises(ValueError, match="must be 0 at the start"):
        model.add_adapter("second", type("Wrong", (DeltaMethod,), with_(init=ones)).config(target_modules=["encoder"]))
    assert list(model.peft_config) == ["default"] and same_bits(model, before)


def test_a_start_that_is_not_zero_where_that_is_said():
    method = type("Bold", (DeltaMethod,), with_(init=ones, starts_at_zero=False))
    base, x = BlockNet(), torch.randn(2, 24)
    plain = base(x)
    assert not torch.equal(peft.get_peft_model(base, method.config(target_modules=["encoder"]))(x), plain)


def test_a_layer_that_is_too_large_to_try_out_is_looked_at_by_its_sizes():
    with torch.device("meta"):
        model = nn.ModuleDict({"layer": nn.Linear(8192, 8192)})
    wrong = type("Wrong", (DeltaMethod,), with_(delta=lambda s, w0, u, v: u.detach() @ v))
    with pytest.raises(ValueError, match=r"'u'.*gets no gradient"):
        peft.get_peft_model(model, wrong.config(target_modules=["layer"]))
    right = type("Right", (DeltaMethod,), with_())
    adapted = peft.get_peft_model(model, right.config(r=2, target_modules=["layer"]))
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == 2 * 2 * 8192
