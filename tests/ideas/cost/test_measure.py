"""cost_report: every exact figure against arithmetic by hand, the defaults on real models, and a model left alone."""

from __future__ import annotations

import dataclasses

import peft
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from torch.utils.checkpoint import checkpoint

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.data import load_task
from glora_lab.ideas.cost.measure_counters import count_saved, count_work
from glora_lab.ideas.cost.measure_twin import twin
from glora_lab.measure import cost_report, path_budget
from glora_lab.models import load_model
from tests.adapters.small_models import gpt2, llama

T, IN, MID, OUT, R = 5, 6, 8, 4, 2  # tokens, features of two layers, rank
FIRST, LAST = 2 * T * IN * MID, 2 * T * MID * OUT  # FLOPs of one product with each layer's weight


def net():
    return nn.Sequential(nn.Linear(IN, MID), nn.Tanh(), nn.Linear(MID, OUT))


def batch():
    return torch.randn(T, IN), torch.randn(T, OUT)


def tokens(vocabulary=64, length=16):
    ids = torch.randint(0, vocabulary, (1, length))
    return {"input_ids": ids, "labels": ids}


def lora(*layers):
    return peft.LoraConfig(r=R, target_modules=list(layers))


def exact(report):
    return [dataclasses.replace(row, milliseconds=0.0) for row in report.rows]


def test_flops_are_those_of_the_products():
    methods = {"frozen": None, "LoRA": lora("0", "2"), "full": "full"}
    found = {row.name: row.flops for row in cost_report(net(), batch(), methods, repeats=1).rows}
    assert found["frozen"] == FIRST + LAST
    # backward of full fine-tuning: both weights' gradients, and the way back through the last layer alone
    assert found["full"] == 2 * FIRST + 3 * LAST
    low_first = 2 * T * R * IN, 2 * T * R * MID  # into the rank, and out of it
    low_last = 2 * T * R * MID, 2 * T * R * OUT
    # each factor: forward, its gradient, and the way back, which the very first one has nowhere to go
    factors = 2 * low_first[0] + 3 * (low_first[1] + sum(low_last))
    assert found["LoRA"] == FIRST + 2 * LAST + factors


def test_saved_bytes_are_what_backward_needs_each_storage_once():
    methods = {"frozen": None, "LoRA": lora("0", "2"), "last": lora("2"), "full": "full"}
    found = {row.name: row.saved_bytes for row in cost_report(net(), batch(), methods, repeats=1).rows}
    assert found["frozen"] == 0
    x, tanh, outputs_and_targets, latent = T * IN, T * MID, 2 * T * OUT, T * R
    assert found["full"] == 4 * (x + tanh + outputs_and_targets)  # tanh is kept by itself and the layer after it: once
    assert found["LoRA"] == 4 * (x + tanh + outputs_and_targets + 2 * latent)
    assert found["last"] == 4 * (tanh + outputs_and_targets + latent)


def test_pointwise_values_are_counted_apart():
    methods = {"frozen": None, "LoRA": lora("0", "2"), "full": "full"}
    found = {row.name: row.elementwise for row in cost_report(net(), batch(), methods, repeats=1).rows}
    assert found["frozen"] == T * MID  # tanh
    assert found["full"] == 2 * T * MID  # and the way back through it
    # scaling there and back and the sum with the base; and two ways back into the last layer, which add up
    assert found["LoRA"] == 2 * T * MID + 3 * T * (MID + OUT) + T * MID


def test_parameters_and_checkpoint():
    stock = peft.GloraConfig(r=R, target_modules=["2"], config_A_B="none", config_C="none", config_D_E="vector")
    methods = {"frozen": None, "LoRA": lora("2"), "stock": stock, "full": "full"}
    rows = {row.name: row for row in cost_report(net(), batch(), methods, repeats=1).rows}
    assert {name: row.params for name, row in rows.items()} == {
        "frozen": 0, "LoRA": R * (MID + OUT), "stock": 2 * OUT, "full": (MID + 1) * OUT
    }  # fmt: skip
    assert {name: row.checkpoint_bytes for name, row in rows.items()} == {
        "frozen": 0,
        "LoRA": 4 * R * (MID + OUT),
        "stock": 4 * (2 * OUT + 2 * MID * OUT + MID),  # two matrices and a column of zeros
        "full": 4 * (MID + 1) * OUT,
    }


def test_where_stock_gloras_cost_goes():
    """Two products with a weight forward, three back: the base, W_eff, and W_eff's own gradient, in any mode."""
    vectors = {"config_A_B": "vector", "config_C": "none", "config_D_E": "none", "target_modules": ["2"]}
    methods = {"stock": peft.GloraConfig(**vectors), "ours": GloraConfig(**vectors), "full": "full"}
    model = nn.Sequential(nn.Linear(IN, MID), nn.Linear(MID, MID), nn.Linear(MID, OUT))
    rows = {row.name: row for row in cost_report(model, batch(), methods, repeats=1).rows}
    before = FIRST + 2 * T * MID * MID
    stray = 2 * MID * OUT  # W0·C with a C of zeros, forward alone
    # nothing before the layer wants a gradient, so no way back is taken through it
    assert rows["stock"].flops == before + 2 * LAST + LAST + stray
    assert rows["ours"].flops == before + LAST + 2 * T * OUT  # B of one column for all: Σx ⊗ v, a product of rank one
    assert rows["full"].flops == before + 2 * LAST


def test_attention_counts_on_a_cpu_as_the_products_it_stands_for():
    settings = {"n_layer": 1, "n_embd": 32, "n_head": 2, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.GPT2Config(**settings)
    flops = []
    for kernel in ("eager", "sdpa"):
        model = transformers.GPT2LMHeadModel._from_config(config, attn_implementation=kernel)
        flops.append(cost_report(model, tokens(), {"frozen": None}, repeats=1).rows[0].flops)
    assert flops[0] == flops[1] > 0
    q, k, v = (torch.randn(1, 2, 7, 16, requires_grad=True) for _ in range(3))
    product = 2 * 2 * 7 * 7 * 16
    assert count_work(lambda: F.scaled_dot_product_attention(q, k, v))[0] == 2 * product
    # back: the scores once more, and two products for each of the two forward ones
    assert count_work(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())[0] == (2 + 5) * product


def test_products_with_a_vector_count():
    w, x = torch.randn(4, 6), torch.randn(6)
    assert count_work(lambda: w @ x)[0] == 2 * 4 * 6
    assert count_work(lambda: torch.addmv(torch.randn(4), w, x))[0] == 2 * 4 * 6
    assert count_work(lambda: x @ x)[0] == 2 * 6


def test_a_storage_is_kept_whole_and_the_models_own_are_there_anyway():
    model = nn.Linear(6, 6, bias=False)
    model.register_buffer("scale", torch.ones(6))
    x = torch.randn(10, 6, requires_grad=True)
    _, kept = count_saved(model, lambda: (model(x[:2]) * model.scale).sum())
    assert kept == 4 * 10 * 6  # the slice keeps all of x; neither the weight nor the buffer counts


def test_the_defaults_on_a_bare_layer():
    report = cost_report(nn.Linear(IN, OUT), (torch.randn(T, IN), torch.randn(T, OUT)), r=R, repeats=1)
    assert report.names == (
        "frozen base", "LoRA", "GLoRA", "stock GLoRA", "GraLoRA", "stock GraLoRA", "full fine-tuning"
    )  # fmt: skip
    assert [row.method for row in report.rows] == ["frozen", *report.names[1:]] and report.left_out == {}
    assert report.row("LoRA").params == report.row("GraLoRA").params == R * (IN + OUT)
    assert report.row("full fine-tuning").params == (IN + 1) * OUT
    assert report.row("LoRA").flops == report.row("GraLoRA").flops
    assert (report.model, report.device, report.threads, report.repeats) == ("Linear", "cpu", 1, 1)


def test_a_language_model_and_what_does_not_fit_it():
    model = gpt2().train(False)
    report = cost_report(model, tokens(), repeats=1)
    assert set(report.left_out) == {"stock GLoRA"} and "Conv1D" in report.left_out["stock GLoRA"]
    assert all(row.milliseconds > 0 for row in report.rows)
    assert report.row("GLoRA").params == path_budget(model, GloraConfig(target_modules="all-linear")).total
    layers = [m for n, m in model.named_modules() if n.endswith(("c_attn", "c_proj", "c_fc"))]
    assert report.row("full fine-tuning").params == sum(p.numel() for m in layers for p in m.parameters())


def test_target_modules_and_rank_are_the_same_for_all_defaults():
    report = cost_report(llama(), tokens(), target_modules=["q_proj", "v_proj"], r=4, repeats=1)
    assert report.row("LoRA").params == report.row("stock GraLoRA").params == 2 * 2 * 4 * (32 + 32)
    assert report.row("full fine-tuning").params == 2 * 2 * 32 * 32
    odd = cost_report(llama(), tokens(), target_modules="all-linear", r=3, repeats=1)
    assert set(odd.left_out) == {"GraLoRA", "stock GraLoRA"} and "must be divisible" in odd.left_out["GraLoRA"]


def test_ours_costs_what_lora_costs_where_no_matrix_is_built():
    """Figures that a faster layer may lower, and must not raise."""
    task = load_task("digits-turned").train.rows(slice(0, 8))
    vectors = {"config_A_B": "vector", "config_C": "vector", "config_D_E": "vector", "target_modules": "all-linear"}
    grid = {"r": 8, "gralora_k": 2, "target_modules": "all-linear"}
    methods = {
        "LoRA": peft.LoraConfig(r=8, target_modules="all-linear"),
        "vectors": GloraConfig(**vectors),
        "stock vectors": peft.GloraConfig(**vectors),
        "B": GloraConfig.only(B="lora", r=8, target_modules="all-linear"),
        "blocks": GraloraConfig(**grid),
        "stock blocks": peft.GraloraConfig(**grid),
    }
    report = cost_report(load_model("digits-vit"), task, methods, repeats=1)
    ratio = report.ratio()
    assert ratio["vectors"]["flops"] < 1 < 1.4 < ratio["stock vectors"]["flops"]
    assert ratio["B"]["flops"] <= 1 and ratio["B"]["saved_bytes"] <= 1
    assert report.row("blocks").flops <= report.row("stock blocks").flops
    assert report.row("blocks").saved_bytes <= report.row("stock blocks").saved_bytes
    for row in report.rows[:2] + report.rows[3:5]:
        assert row.checkpoint_bytes == 4 * row.params


class Noisy(nn.Module):
    """Everything that a report could disturb: dropout, running means, tied weights, a gradient, frozen and not."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer, self.drop = nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Dropout(0.5)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.layer.weight

    def forward(self, x):
        return self.tied(self.drop(torch.tanh(self.layer(self.norm(x)))))


def everything(model):
    """All there is to see of a model: its modules, modes, tensors to the bit, flags and gradients."""
    tensors = [*model.parameters(), *model.buffers()]
    return (
        [(name, id(m), m.training, len(m._forward_hooks), sorted(vars(m))) for name, m in model.named_modules()],
        [(id(t), t.data_ptr(), t.requires_grad, t._version, t.tolist()) for t in tensors],
        [(id(p.grad), None if p.grad is None else p.grad.tolist()) for p in model.parameters()],
        torch.get_rng_state().tolist(),
    )


def noisy():
    model = Noisy().train()
    model.drop.eval()
    nn.functional.mse_loss(model(torch.randn(4, 8)), torch.zeros(4, 8)).backward()
    model.tied.bias.requires_grad_(False)
    return model


def test_the_model_is_left_as_it_was():
    model, data = noisy(), (torch.randn(4, 8), torch.zeros(4, 8))
    before = everything(model)
    with torch.no_grad():
        first = cost_report(model, data, repeats=2)
        assert not torch.is_grad_enabled()
    assert everything(model) == before
    assert exact(cost_report(model, data, repeats=1)) == exact(first)
    assert first.row("LoRA").saved_bytes > 0
    with torch.inference_mode():
        assert exact(cost_report(model, data, repeats=1)) == exact(first)


def test_the_streams_of_gpus_that_take_no_part_are_left_alone(monkeypatch):
    def restart(seed):
        raise AssertionError("every GPU was seeded anew")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", restart)
    cost_report(net(), batch(), {"LoRA": lora("0")}, repeats=1)


class Recomputed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=False)


def test_gradient_checkpointing_keeps_less_and_computes_again():
    plain, again = (cost_report(m, batch(), {"full": "full"}, repeats=1).rows[0] for m in (net(), Recomputed()))
    assert again.flops == plain.flops + FIRST  # what the first layer gives, no further
    assert again.saved_bytes == 4 * (T * IN + 2 * T * OUT)  # the way in, and what the loss needs


def test_a_failure_leaves_the_model_as_it_was_too():
    model, data = noisy(), (torch.randn(4, 8), torch.zeros(4, 8))
    before = everything(model)
    with pytest.raises(RuntimeError, match="running_mean"):
        cost_report(model, (torch.ones(4, 7), torch.zeros(4, 8)))
    thirds = GraloraConfig(r=24, gralora_k=3, target_modules=["layer"])
    with pytest.raises(ValueError, match=r"`methods\['GraLoRA'\]` does not fit the model: .*gralora_k"):
        cost_report(model, data, {"LoRA": lora("layer"), "GraLoRA": thirds})
    with pytest.raises(ZeroDivisionError):
        calls = iter([1, 1, 1, 0])
        cost_report(model, data, loss=lambda outputs, targets: outputs.sum() * (1 / next(calls)))
    assert everything(model) == before


def test_configurations_are_left_as_they_were():
    config = peft.LoraConfig(target_modules="all-linear")
    before = config.to_dict()
    cost_report(net(), batch(), {"mine": config}, repeats=1)
    assert config.to_dict() == before


def test_a_twin_shares_weights_and_nothing_else():
    model = noisy()
    copy = twin(model)
    assert copy.layer.weight.data_ptr() == model.layer.weight.data_ptr() and copy.layer.weight is copy.tied.weight
    assert copy.layer.weight is not model.layer.weight and not copy.layer.weight.requires_grad
    assert copy.norm.running_mean.data_ptr() != model.norm.running_mean.data_ptr()


class Quantised(nn.Parameter):
    """Stands for the parameters that quantisation brings: a class of its own, which copies itself."""


def test_a_parameter_of_another_class_is_copied_and_frozen_too():
    model = net()
    model[0].weight = Quantised(model[0].weight.detach())
    weight = twin(model)[0].weight
    assert type(weight) is Quantised and not weight.requires_grad and model[0].weight.requires_grad
    assert weight.data_ptr() != model[0].weight.data_ptr() and torch.equal(weight, model[0].weight)


def test_dropout_is_part_of_a_step_and_full_means_the_layers_of_the_adapters():
    plain, dropping = net(), nn.Sequential(nn.Linear(IN, MID), nn.Dropout(0.5), nn.Linear(MID, OUT)).eval()
    methods = {"some": lora("0"), "others": lora("2"), "full": "full"}
    assert cost_report(plain, batch(), {"full": "full"}, repeats=1).rows[0].params == (IN + 1) * MID + (MID + 1) * OUT
    rows = cost_report(dropping, batch(), methods, repeats=1).rows
    assert rows[2].params == (IN + 1) * MID + (MID + 1) * OUT and [row.name for row in rows] == list(methods)
    lone = cost_report(dropping, batch(), {"full": "full", "one": lora("2")}, repeats=1)
    assert [row.name for row in lone.rows] == ["full", "one"] and lone.rows[0].params == (MID + 1) * OUT
    identity = nn.Sequential(dropping[0], nn.Identity(), dropping[2])
    kept = [cost_report(m, batch(), {"one": lora("0")}, repeats=1).rows[0].saved_bytes for m in (dropping, identity)]
    assert kept[0] > kept[1]  # the mask


def test_a_method_without_anything_to_train_is_its_forward_pass():
    nothing = peft.GloraConfig(config_A_B="none", config_C="none", config_D_E="none", target_modules=["0"])
    (row,) = cost_report(net(), batch(), {"nothing": nothing}, repeats=1).rows
    assert (row.params, row.saved_bytes, row.method) == (0, 0, "stock GLoRA") and row.flops > FIRST + LAST


def test_a_loss_of_ones_own_and_low_precision():
    model = net().bfloat16()
    data = tuple(t.bfloat16() for t in batch())
    report = cost_report(model, data, r=R, repeats=1, loss=lambda out, targets: (out - targets).abs().mean())
    assert report.left_out == {} and report.row("full fine-tuning").checkpoint_bytes == 2 * report.rows[-1].params


def test_steps_are_timed_in_turns(monkeypatch):
    """Rounds, each beginning with another method; the median of a method's steps is its time."""
    clock, order = iter(range(10**6)), []
    monkeypatch.setattr("glora_lab.ideas.cost.measure.perf_counter", lambda: next(clock) ** 2)
    forward = nn.Linear.forward

    def watched(layer, x):
        order.append(layer.weight.requires_grad)
        return forward(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", watched)
    model = nn.Sequential(nn.Linear(IN, OUT))
    report = cost_report(model, batch(), {"frozen": None, "full": "full"}, repeats=3)
    # one try, two counting passes each, then three rounds
    assert order == [False] + [False] * 2 + [True] * 2 + [False, True, True, False, False, True]
    took = [(2 * n + 1) ** 2 - (2 * n) ** 2 for n in range(6)]  # 1, 5, 9, 13, 17, 21
    assert report.row("frozen").milliseconds == 1000 * sorted([took[0], took[3], took[4]])[1]
    assert report.row("full").milliseconds == 1000 * sorted([took[1], took[2], took[5]])[1]


ADAPTED = peft.get_peft_model(net(), lora("0"))


@pytest.mark.parametrize(
    "message, change",
    [
        (r"`model` \(a PeftModel\) must carry no adapter; give the model without it", {"model": ADAPTED}),
        (r"`model` \(a Sequential\) must carry no adapter", {"model": ADAPTED.base_model.model}),
        (r"`model` \(a Tanh\) must be a module with parameters", {"model": nn.Tanh()}),
        (r"`model` \(a str\) must be a module with parameters", {"model": "gpt2"}),
        (r"`model` \(a Linear\) must have weights, and is on the meta device", {"model": nn.Linear(2, 2).to("meta")}),
        (r"`batch` \(a Tensor\) must be a dict or a tuple", {"batch": torch.ones(2, IN)}),
        (r"`batch` \(of input\) gives the model no loss", {"batch": {"input": torch.ones(2, IN)}}),
        (r"`loss` \(of shape \(5, 4\)\) must be one number", {"loss": nn.MSELoss(reduction="none")}),
        (r"`repeats` \(=0\) must be a positive integer", {"repeats": 0}),
        (r"`repeats` \(=True\) must be a positive integer", {"repeats": True}),
        (r"`r` \(=0\) must be a positive integer", {"r": 0}),
        (r"`r` \(=2.5\) must be a positive integer", {"r": 2.5}),
        (r"`methods` \(=\{\}\) must be a dict of at least one name", {"methods": {}}),
        (r"`methods` \(=\['LoRA'\]\) must be a dict", {"methods": ["LoRA"]}),
        (r"`methods` \(=\[1\]\) must have names for keys", {"methods": {1: None}}),
        (r"`methods\['x'\]` \(='LoRA'\) must be a PEFT configuration, None or 'full'", {"methods": {"x": "LoRA"}}),
        (r"`methods\['x'\]` does not fit the model: .*nowhere", {"methods": {"x": lora("nowhere")}}),
        (r"`target_modules` \(='0'\) must be left to `methods`", {"methods": {"x": None}, "target_modules": "0"}),
        (r"`r` \(=4\) must be left to `methods`", {"methods": {"x": None}, "r": 4}),
        (r"`target_modules` \(=\['nowhere'\]\) suits no method: .*nowhere", {"target_modules": ["nowhere"]}),
    ],
)
def test_what_cannot_work_is_said(message, change):
    call = {"model": net(), "batch": batch(), "repeats": 1, **change}
    with pytest.raises(ValueError, match=message):
        cost_report(**call)


def test_what_is_counted_is_a_step_after_the_first():
    """A new adapter's factors are zero, and a layer that sees it does less than every later step will."""
    model = nn.Sequential(nn.Linear(300, 260))
    config = GloraConfig.only(A="lora", B="none", C="none", D="none", E="none", r=8, target_modules=["0"])
    batch = (torch.randn(40, 300), torch.randn(40, 260))
    (row,) = cost_report(model, batch, {"A": config}, repeats=1).rows
    products = 2 * 40 * 300 * 260  # the layer's own, and the dense gradient; the input needs none
    assert row.flops == 2 * products + 3 * 2 * 8 * 300 * 260  # W0⊙A is formed once, and its gradient split in two
