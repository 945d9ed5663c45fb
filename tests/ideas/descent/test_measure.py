"""descent against the optimisers and the closed form of a quadratic; stable_step against its known edge."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GraloraConfig
from glora_lab.measure import descent, stable_step
from glora_lab.models import OUTLIER_LAYER, outlier_layer


def small(dropout=0.5):
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(dropout), nn.Linear(4, 2)).double()
    return model, (torch.randn(7, 5).double(), torch.randn(7, 2).double())


@pytest.mark.parametrize("optimizer, kind", [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_descent_is_the_optimisers_own(optimizer, kind):
    model, (x, y) = small(dropout=0.0)
    found = descent(model, (x, y), lr=0.05, steps=9, optimizer=optimizer)
    stepper, wanted = kind(model.parameters(), lr=0.05), []
    for _ in range(10):
        loss = nn.functional.mse_loss(model(x), y)
        wanted.append(loss.item())
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    np.testing.assert_allclose(found.losses, wanted, rtol=1e-12)
    assert (found.method, found.optimizer, found.lr) == ("full fine-tuning", optimizer, 0.05)
    assert found.final == found.losses[-1] < found.losses[0] and found.stable


def test_the_model_is_left_as_it_was_and_dropout_is_not_drawn():
    model, batch = small()
    model.train()
    model[0].eval()
    nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    grads, random = [p.grad.clone() for p in model.parameters()], torch.get_rng_state()
    assert descent(model, batch, lr=0.1, steps=5) == descent(model, batch, lr=0.1, steps=5)
    assert stable_step(model, batch, steps=5) == stable_step(model, batch, steps=5)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert [m.training for m in model.modules()] == [True, False, True, True]
    with pytest.raises(RuntimeError):
        descent(model, (batch[0][:, :3], batch[1]), lr=0.1, steps=2)
    assert [m.training for m in model.modules()] == [True, False, True, True]


def quadratic(curvature):
    """One weight whose loss is curvature/2 · w², at w = 1: stable up to 2/curvature, exactly."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    return model, (torch.ones(1, 1).double(), torch.zeros(1, 1).double()), lambda out, _: curvature / 2 * (out**2).sum()


@pytest.mark.parametrize("curvature", [0.3, 50.0, 4e5])
def test_the_edge_of_a_quadratic_is_two_over_its_curvature(curvature):
    model, batch, loss = quadratic(curvature)
    found = stable_step(model, batch, loss=loss, within=1e-3)
    edge = 2 / curvature
    assert edge / 1.001 <= found.largest <= edge
    rates = [run.lr for run in found.tried]
    assert rates == sorted(rates) and found.largest == max(run.lr for run in found.tried if run.stable)
    assert min(run.lr for run in found.tried if not run.stable) <= found.largest * 1.001
    assert found.steps == 60 and all(len(run.losses) == 61 for run in found.tried if run.stable)


def test_a_descent_ends_with_the_first_loss_that_is_no_number():
    model, batch, loss = quadratic(2.0)
    wild = descent(model, batch, lr=1e60, steps=50, loss=loss)
    assert not np.isfinite(wild.losses[-1]) and np.isfinite(wild.losses[:-1]).all()
    assert 2 < len(wild.losses) < 51 and not wild.stable
    rising = descent(model, batch, lr=1.5, steps=4, loss=loss)  # w → −2w
    np.testing.assert_allclose(rising.losses, [4.0**n for n in range(5)])
    assert not rising.stable


def test_the_adapter_moves_and_the_base_does_not():
    model, batch = outlier_layer(size=8, channel=0, magnitude=1, change=1.0)
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=[OUTLIER_LAYER]))
    run = descent(lora, batch, lr=0.05, steps=30, optimizer="adam")
    assert run.method == "LoRA" and run.final < run.losses[0]
    for parameter in lora.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match=r"`model` \(=PeftModel\) has no parameter that requires a gradient"):
        descent(lora, batch, lr=0.1, steps=1)


def outlier_steps(k, *, change, magnitude, seed=0):
    torch.manual_seed(1000 + seed)
    model, batch = outlier_layer(size=128, magnitude=magnitude, tokens=256, change=change, seed=seed)
    config = GraloraConfig(r=32, alpha=64, gralora_k=k, target_modules=[OUTLIER_LAYER])
    return stable_step(peft.get_peft_model(model, config), batch, steps=40).largest


def test_what_the_largest_stable_step_depends_on():
    """FACTS §2.5: 1.8 times LoRA's for k = 4. It is there where a dense change is learnt, without an outlier too, and
    not where an outlier's own column is all that is large."""

    def ratio(k, **settings):
        rates = [[outlier_steps(n, seed=seed, **settings) for n in (k, 1)] for seed in range(3)]
        return np.exp(np.mean([np.log(a / b) for a, b in rates]))

    assert ratio(4, change=1.0, magnitude=100) == pytest.approx(1.8, rel=0.1)
    assert ratio(2, change=1.0, magnitude=100) == pytest.approx(1.4, rel=0.1)
    assert ratio(4, change=0.0, magnitude=100) < 1.1
    assert ratio(4, change=1.0, magnitude=1) > 1.8


def flat(outputs, _):
    return 0 * outputs.sum()


def lost(outputs, _):
    return outputs.sum() * float("nan")


@pytest.mark.parametrize(
    "message, call",
    [
        (r"`lr` \(=0\) must be a finite number above 0", lambda m, b: descent(m, b, lr=0, steps=1)),
        (r"`steps` \(=1.5\) must be an integer above 0", lambda m, b: descent(m, b, lr=1, steps=1.5)),
        (r"`steps` \(=0\) must be an integer above 0", lambda m, b: stable_step(m, b, steps=0)),
        (r"`within` \(=-1\) must be a finite number above 0", lambda m, b: stable_step(m, b, within=-1)),
        (r"`optimizer` \(='x'\) must be one of: sgd, adam", lambda m, b: descent(m, b, lr=1, steps=1, optimizer="x")),
        (r"`batch` \(a Tensor\) must be a dict or a tuple", lambda m, b: descent(m, b[0], lr=1, steps=1)),
        (r"is stable on this `batch` at every learning rate", lambda m, b: stable_step(m, b, loss=flat)),
        (r"is stable on this `batch` at no learning rate", lambda m, b: stable_step(m, b, loss=lost)),
    ],
)
def test_what_cannot_work_is_said(message, call):
    model, batch = small()
    with pytest.raises(ValueError, match=message):
        call(model, batch)
