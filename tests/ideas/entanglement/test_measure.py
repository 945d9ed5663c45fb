"""gradient_report: J Jᵀ G against the closed forms, G against autograd, the localisation, and a model left alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import delta_matrix, factor_pairs
from glora_lab.data import load_task
from glora_lab.ideas.entanglement.record import LIMIT
from glora_lab.measure import gradient_report, sensible_limit
from glora_lab.models import OUTLIER_LAYER, load_model, outlier_layer

RANDOM = {"init_weights": False, "target_modules": ["0"]}
CONFIGS = {
    "LoRA": peft.LoraConfig(r=4, lora_alpha=6, init_lora_weights=False, target_modules=["0"]),
    "DoRA": peft.LoraConfig(r=4, use_dora=True, init_lora_weights=False, target_modules=["0"]),
    "GLoRA": GloraConfig(r=3, **RANDOM),
    "GLoRA vectors": GloraConfig(config_A_B="vector", **RANDOM),
    "stock GLoRA": peft.GloraConfig(r=3, **RANDOM),
    "GraLoRA": GraloraConfig(r=8, alpha=12, gralora_k=4, **RANDOM),
    "hybrid": GraloraConfig(r=8, alpha=12, gralora_k=2, hybrid_r=3, **RANDOM),
    "stock GraLoRA": peft.GraloraConfig(r=8, alpha=12, gralora_k=4, **RANDOM),
}
NAMES = pytest.mark.parametrize("name", CONFIGS)


def adapted(config, dtype=torch.double):
    base = nn.Sequential(nn.Linear(24, 48), nn.Tanh(), nn.Linear(48, 5)).to(dtype)
    return peft.get_peft_model(base, config)


def layer_of(model):
    return model.base_model.model[0]


def batch(features=24, out=5):
    return torch.randn(3, 7, features, dtype=torch.double), torch.randn(3, 7, out, dtype=torch.double)


MISMATCHED = batch()[0], torch.ones(3, 7)


def full_gradient(model, x, y):
    """∂L/∂W of a plain layer in the adapted one's place."""
    layer = layer_of(model)
    innermost = layer.get_base_layer()
    weight = (innermost.weight + delta_matrix(layer)).detach().requires_grad_()
    bias = (layer(0 * x[0, :1]) @ torch.zeros(48, 48, dtype=torch.double) + layer(0 * x[0, :1])).detach()[0]
    out = model.base_model.model[2](torch.tanh(nn.functional.linear(x, weight, bias)))
    return torch.autograd.grad(nn.functional.mse_loss(out, y), weight)[0].numpy()


@NAMES
def test_full_is_the_gradient_of_the_effective_weight(name):
    model = adapted(CONFIGS[name])
    x, y = batch()
    found = gradient_report(model, (x, y), "0").full
    np.testing.assert_allclose(found, full_gradient(model, x, y), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "DoRA"])  # its norm is a constant to PEFT alone
def test_effective_is_what_a_small_step_of_the_parameters_does_to_the_weight(name):
    model = adapted(CONFIGS[name])
    x, y = batch()
    report, layer, step = gradient_report(model, (x, y), "0"), layer_of(model), 1e-6
    model.eval()
    nn.functional.mse_loss(model(x), y).backward()
    moved = []
    with torch.no_grad():
        for sign in (1, -1):
            for p in layer.parameters():
                if p.requires_grad:
                    p.add_(p.grad, alpha=sign * step * (1 if sign == 1 else 2))
            moved.append(delta_matrix(layer).numpy())
    size = np.abs(report.effective).max()
    np.testing.assert_allclose((moved[0] - moved[1]) / (2 * step), report.effective, atol=1e-6 * size)


def test_lora_has_its_closed_form():
    model = adapted(CONFIGS["LoRA"])
    report, layer = gradient_report(model, batch(), "0"), layer_of(model)
    a, b = (getattr(layer, n)["default"].weight.detach().numpy() for n in ("lora_A", "lora_B"))
    wanted = (6 / 4) ** 2 * (report.full @ a.T @ a + b @ b.T @ report.full)
    np.testing.assert_allclose(report.effective, wanted, rtol=1e-10, atol=1e-14)
    assert report.method == "LoRA" and report.block_deviation.shape == (1, 1)


@pytest.mark.parametrize("name", ["GraLoRA", "stock GraLoRA"])
def test_gralora_has_its_closed_form_in_every_block(name):
    model = adapted(CONFIGS[name])
    report, found = gradient_report(model, batch(), "0"), factor_pairs(layer_of(model))
    for m in range(4):
        for n in range(4):
            here = np.s_[m * 12 : (m + 1) * 12, n * 6 : (n + 1) * 6]
            a, b, g = found.A[m, n].detach().numpy(), found.B[m, n].detach().numpy(), report.full[here]
            wanted = found.scaling**2 * (g @ a @ a.T + b @ b.T @ g)
            np.testing.assert_allclose(report.effective[here], wanted, rtol=1e-10, atol=1e-14)
    assert report.method == name and report.block_deviation.shape == (4, 4)


def test_deviation_is_the_relative_error_of_a_column_and_of_its_part_in_a_block():
    report = gradient_report(adapted(CONFIGS["GraLoRA"]), batch(), "0", scaling="equal size")
    off, g = report.factor * report.effective - report.full, report.full
    assert report.deviation[7] == pytest.approx(np.linalg.norm(off[:, 7]) / np.linalg.norm(g[:, 7]))
    rows, columns = slice(12, 24), range(12, 18)  # m = 1, n = 2
    errors = [np.linalg.norm(off[rows, i]) / np.linalg.norm(g[rows, i]) for i in columns]
    assert report.block_deviation[1, 2] == pytest.approx(np.median(errors))


def test_the_conventions_of_scaling():
    model, data = adapted(CONFIGS["LoRA"]), batch()
    g, e = (getattr(gradient_report(model, data, "0"), n) for n in ("full", "effective"))
    factor = {s: gradient_report(model, data, "0", scaling=s).factor for s in ("as is", "equal decrease", "equal size")}
    assert factor["as is"] == 1
    assert (factor["equal decrease"] * e * g).sum() == pytest.approx((g * g).sum())
    assert np.linalg.norm(factor["equal size"] * e) == pytest.approx(np.linalg.norm(g))
    assert len(set(factor.values())) == 3
    report = gradient_report(model, data, "0", scaling="equal decrease")
    np.testing.assert_array_equal(report.effective, e)  # the record keeps it as it is


def outlier_report(k, seed, times=100.0, r=64, alpha=None, scaling="equal decrease", rslora=False):
    """A Gaussian layer of 256×256 that is off by noise alone, inputs Gaussian, channel 10 `times` as large."""
    torch.manual_seed(1000 + seed)  # the adapter's; the layer and its batch have theirs
    alpha = 2 * r if alpha is None else alpha
    if k == 1:
        config = peft.LoraConfig(r=r, lora_alpha=alpha, use_rslora=rslora, target_modules=[OUTLIER_LAYER])
    else:
        config = GraloraConfig(r=r, alpha=alpha, gralora_k=k, target_modules=[OUTLIER_LAYER])
    model, batch = outlier_layer(size=256, channel=10, magnitude=times, seed=seed)
    return gradient_report(peft.get_peft_model(model, config), batch, OUTLIER_LAYER, scaling=scaling)


SEEDS = range(6)


def test_an_outlier_reaches_one_block_column():
    """FACTS §2.1: .87/.50/.25/.12 of the channels for k = 1/2/4/8, k of k² blocks, and no channel without outlier."""
    shares = {}
    for k in (1, 2, 4, 8):
        reports = [outlier_report(k, seed) for seed in SEEDS]
        shares[k] = np.mean([report.deviating() for report in reports])
        assert all(report.contaminated() == [(m, 0) for m in range(k)] for report in reports)
        assert all(report.outliers == (10,) for report in reports)
        calm = outlier_report(k, 0, times=1.0)
        assert calm.deviating() < 0.03 and not calm.contaminated() and not calm.outliers
        assert np.median(calm.deviation) == pytest.approx(np.sqrt(256 / 64), rel=0.1)  # √(in/r), whatever k
    assert [shares[k] for k in (1, 2, 4, 8)] == pytest.approx([0.87, 0.50, 0.25, 0.12], abs=0.03)


def test_the_price_inside_the_outliers_block_grows_with_k():
    """FACTS §2.1: by about √k, in root mean square; in the median by more, for k factors share in a column."""
    square = {k: np.mean([outlier_report(k, s).deviation[: 256 // k] ** 2 for s in SEEDS]) for k in (1, 4)}
    assert np.sqrt(square[4] / square[1]) == pytest.approx(2, rel=0.15)


def test_the_trend_over_rank_is_the_conventions():
    """FACTS §2.2: with alpha = 2r it grows, with fixed alpha it is flat, at equal decrease and with rsLoRA it falls."""

    def mean(r, **settings):
        return np.mean([outlier_report(1, seed, r=r, **settings).deviation.mean() for seed in SEEDS])

    growing, flat = (
        [mean(r, scaling="as is") for r in (16, 128)],
        [mean(r, scaling="as is", alpha=16) for r in (16, 128)],
    )
    assert growing == pytest.approx([1.99, 4.76], rel=0.15)
    assert flat[0] == pytest.approx(flat[1], rel=0.15)
    assert mean(16) > 2 * mean(128)
    rs = [mean(r, scaling="as is", alpha=16, rslora=True) for r in (16, 128)]
    assert rs[0] > 2 * rs[1]


def test_a_limit_stays_above_what_is_off_without_an_outlier():
    assert sensible_limit(256, 64) == 4 and sensible_limit(128, 128) == LIMIT
    assert sensible_limit(128, 8) == 8 and sensible_limit(128, 8, scaling="as is") == LIMIT
    for r in (16, 64):
        limit = sensible_limit(256, r)
        calm, wild = (outlier_report(4, 0, r=r, times=times) for times in (1.0, 100.0))
        assert calm.deviating(limit) < 0.01 and not calm.contaminated(limit)
        assert wild.contaminated(limit) == [(m, 0) for m in range(4)]
    with pytest.raises(ValueError, match=r"`r` \(=0\) must be an integer above 0"):
        sensible_limit(128, 0)


def test_a_real_layer_with_real_images():
    config = GraloraConfig(r=32, gralora_k=4, target_modules=r".*\.1\.mlp\.fc2")
    model = peft.get_peft_model(load_model("digits-vit"), config)
    images = load_task("digits-turned").train.rows(slice(0, 32))
    report = gradient_report(model, images, "fc2")
    weight = model.get_base_model().vit.layers[1].mlp.fc2.base_layer.weight.requires_grad_()
    model(**images).loss.backward()
    np.testing.assert_allclose(report.full, weight.grad.numpy(), rtol=1e-3, atol=1e-6)
    assert report.layer == "vit.layers.1.mlp.fc2" and report.full.shape == (64, 128)
    sizes = np.linalg.norm(report.full, axis=0)
    assert report.outliers[0] == sizes.argmax()  # the layer's own strongest channel, found and marked
    assert report.strongest(2) == [(114, pytest.approx(6.45, abs=0.05)), (30, pytest.approx(6.35, abs=0.05))]
    assert set(report.outliers) == set(np.flatnonzero(sizes > 5 * np.median(sizes[sizes > 0])).tolist())


def test_a_layer_without_an_outlier_has_strongest_channels_all_the_same():
    model = peft.get_peft_model(load_model("digits-vit"), peft.LoraConfig(r=16, target_modules=r".*\.1\.mlp\.fc1"))
    report = gradient_report(model, load_task("digits-turned").train.rows(slice(0, 32)), "fc1")
    sizes = np.linalg.norm(report.full, axis=0)
    assert not report.outliers and [i for i, _ in report.strongest(3)] == np.argsort(-sizes)[:3].tolist()
    assert report.strongest() == [(29, pytest.approx(2.65, abs=0.05))]
    np.testing.assert_allclose(report.prominence, sizes / np.median(sizes))


class Noisy(nn.Module):
    """Everything that a report could disturb: dropout, running means, a layer that runs twice, a frozen rest."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer, self.drop = nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x):
        return self.layer(self.drop(torch.tanh(self.layer(self.norm(x)))))


def test_the_model_is_left_as_it_was_and_dropout_is_not_drawn():
    model = peft.get_peft_model(Noisy(), GraloraConfig(r=4, gralora_k=2, target_modules=["layer"], gralora_dropout=0.5))
    model.train()
    model.base_model.model.norm.eval()
    model(torch.randn(4, 8)).sum().backward()
    wanted = [p.requires_grad for p in model.parameters()]
    state = {n: t.clone() for n, t in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    data = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 8)
    assert gradient_report(model, data, "layer") == gradient_report(model, data, "layer")
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [m.training for m in model.modules()] and len(set(modes)) == 2
    assert wanted == [p.requires_grad for p in model.parameters()]
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    for p, before in zip(model.parameters(), grads, strict=True):
        assert p.grad is before if before is None else torch.equal(p.grad, before)
    assert not model.base_model.model.layer._forward_hooks


def test_a_failure_in_the_model_leaves_it_as_it_was_too():
    model = adapted(CONFIGS["LoRA"]).train()
    with pytest.raises(RuntimeError, match="shapes"):
        gradient_report(model, (torch.randn(2, 23).double(), torch.randn(2, 5).double()), "0")
    assert model.training and not layer_of(model)._forward_hooks


def test_a_layer_that_runs_twice_adds_up():
    model = peft.get_peft_model(Noisy().double().eval(), peft.LoraConfig(r=2, target_modules=["layer"]))
    model.base_model.model.layer.base_layer.weight.requires_grad_()
    x, y = torch.randn(4, 8).double(), torch.randn(4, 8).double()
    report = gradient_report(model, (x, y), "layer")
    nn.functional.mse_loss(model.eval()(x), y).backward()
    wanted = model.base_model.model.layer.base_layer.weight.grad.numpy()
    np.testing.assert_allclose(report.full, wanted, rtol=1e-9, atol=1e-14)


def test_an_adapter_loaded_for_inference_and_one_with_a_frozen_factor():
    data = batch()
    model = adapted(CONFIGS["LoRA"])
    trained = gradient_report(model, data, "0")
    layer = layer_of(model)
    for p in model.parameters():
        p.requires_grad_(False)
    with torch.no_grad():
        assert gradient_report(model, data, "0") == trained
    layer.lora_B["default"].weight.requires_grad_()
    a = layer.lora_A["default"].weight.numpy()
    wanted = (6 / 4) ** 2 * trained.full @ a.T @ a
    np.testing.assert_allclose(gradient_report(model, data, "0").effective, wanted, rtol=1e-10, atol=1e-14)


def test_a_loss_of_ones_own():
    model, (x, y) = adapted(CONFIGS["LoRA"]), batch()
    twice = gradient_report(model, (x, y), "0", loss=lambda out, targets: 2 * nn.functional.mse_loss(out, targets))
    np.testing.assert_allclose(twice.full, 2 * gradient_report(model, (x, y), "0").full, rtol=1e-12)


def test_channels_without_a_gradient_and_a_layer_without_any():
    model, (x, y) = adapted(CONFIGS["LoRA"]), batch()
    x[..., 3] = 0
    report = gradient_report(model, (x, y), "0")
    assert (
        np.isinf(report.deviation[3]) and np.isfinite(np.delete(report.deviation, 3)).all()
    )  # LoRA moves it all the same
    nothing = gradient_report(model, (0 * x, y), "0")
    assert not nothing.full.any() and not nothing.deviation.any() and nothing.factor == 1 and nothing.outliers == ()


def test_a_low_precision_adapter_is_reported_in_float64():
    model = adapted(CONFIGS["GraLoRA"], torch.float32).bfloat16()
    x, y = (t.bfloat16() for t in batch())
    report, found = gradient_report(model, (x, y), "0"), factor_pairs(layer_of(model))
    a, b, g = found.A[0, 0].detach().numpy(), found.B[0, 0].detach().numpy(), report.full[:12, :6]
    np.testing.assert_allclose(report.effective[:12, :6], found.scaling**2 * (g @ a @ a.T + b @ b.T @ g), rtol=1e-10)


@pytest.mark.parametrize(
    "message, change",
    [
        (r"`scaling` \(='fair'\) must be one of: as is, equal decrease, equal size", {"scaling": "fair"}),
        (r"`layer` \(='9'\) is no adapted layer", {"layer": "9"}),
        (r"`adapter_name` \(='other'\) is not on this layer", {"adapter_name": "other"}),
        (r"`batch` \(a Tensor\) must be a dict or a tuple", {"batch": torch.ones(2, 24)}),
        (r"`batch` \(a tuple\) must be a dict or a tuple", {"batch": (1, 2, 3)}),
        (r"`batch` \(of input\) gives the model no loss", {"batch": {"input": torch.ones(2, 24).double()}}),
        (r"`loss` \(=.*\) goes with a `batch` \(inputs, targets\)", {"batch": {}, "loss": nn.MSELoss()}),
        (r"`loss` \(=None\) is the mean squared error .* not of \(3, 7, 5\) and \(3, 7\)", {"batch": MISMATCHED}),
        (r"`loss` \(of shape \(3, 7, 5\)\) must be one number", {"loss": nn.MSELoss(reduction="none")}),
        (r"`layer` \(='0'\) has no part in the loss", {"loss": lambda out, targets: targets.sum()}),
        (r"`layer` \(='0'\) has no part in the loss", {"loss": lambda out, targets: targets.requires_grad_().sum()}),
    ],
)
def test_what_cannot_work_is_said(message, change):
    model = adapted(CONFIGS["LoRA"])
    call = {"batch": batch(), "layer": "0", **change}
    with pytest.raises(ValueError, match=message):
        gradient_report(model, **call)


def test_no_warning_of_torch_escapes_at_first_use():
    program = """
import warnings; warnings.simplefilter("error")
import torch, peft
from glora_lab.measure import gradient_report
model = peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), peft.LoraConfig(target_modules=["0"]))
print(gradient_report(model, (torch.ones(2, 4), torch.ones(2, 4)), "0").method)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.returncode) == ("LoRA", 0), run.stderr
