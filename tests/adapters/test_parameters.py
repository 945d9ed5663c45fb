"""Adapters over parameters (`target_parameters`): each expert computes with its own W_eff, and all of the rest."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from glora_lab import export_peft, load_adapter, path_budget, xray
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.base.parameter import ParameterAsLayer
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.adapters.view import find_layer

from .expert_models import EXPERTS, FAMILIES, IDS, dbrx, expert_weights, logits, moe
from .small_models import INERT, SECOND_TUNER, expecting

TARGETS: dict[str, Any] = {"target_modules": [], "target_parameters": EXPERTS, "init_weights": False}
GLORAS: dict[str, dict[str, Any]] = {
    "A and B lora": {"config_A": "lora", "config_B": "lora", "alpha": 6},
    "product": {"config_A": "lora", "config_B": "none", "A_form": "product"},
    "vectors": {"config_A": "vector", "config_B": "vector"},
    "product vector": {"config_A": "vector", "config_B": "none", "A_form": "product"},
    "constants": {"config_A": "constant", "config_B": "constant"},
}
GRALORAS: dict[str, dict[str, Any]] = {"blocks": {"gralora_k": 2}, "hybrid": {"gralora_k": 4, "hybrid_r": 2}}
CASES = [pytest.param(GloraConfig, case, id=name) for name, case in GLORAS.items()]
CASES += [pytest.param(GraloraConfig, case, id=name) for name, case in GRALORAS.items()]
METHODS = [CASES[0], CASES[5]]


def adapted(model: nn.Module, kind: type, case: dict[str, Any], **settings: Any) -> peft.PeftModel:
    with expecting(INERT):
        return peft.get_peft_model(model, kind(**{"r": 4, **TARGETS, **case, **settings})).eval()


def factors(model: nn.Module, parameter: str, expert: int, adapter: str = "default") -> dict[str, Tensor]:
    """One expert's tensors, under a checkpoint's names."""
    layer = next(m for m in model.modules() if isinstance(m, ParameterLayer) and m.layer_name == parameter)
    return {name: tensor[expert] for name, tensor in layer.tensors(adapter).items()}


def effective(w0: Tensor, found: dict[str, Tensor], config: Any) -> Tensor:
    """(out, in): the formula for one expert, in plain arithmetic of its own."""
    if isinstance(config, GraloraConfig):
        return w0 + config.alpha / (config.r + config.hybrid_r) * grid(found, config.gralora_k)
    scaling = 1 if config.alpha is None else config.alpha / config.r
    a, b = (
        scaling * found[f"glora_{p}.Xd"] @ found[f"glora_{p}.Xu"]
        if f"glora_{p}.Xd" in found
        else found.get(f"glora_{p}.X")
        for p in "AB"
    )
    w = w0.clone()
    if a is not None and config.A_form == "product":
        w += w0 @ (a if a.shape[0] == a.shape[-1] else torch.diag(a[:, 0]))
    elif a is not None:
        w += w0 * a  # a vector is (out, 1)
    return w if b is None else w + b


def grid(found: dict[str, Tensor], k: int) -> Tensor:
    a, b = found["gralora_A"], found["gralora_B"]
    s = a.shape[-1] // k
    rows = [
        torch.cat([b[m, n * s : (n + 1) * s].T @ a[n, :, m * s : (m + 1) * s].T for n in range(k)], 1) for m in range(k)
    ]
    delta = torch.cat(rows)
    general = [found.get(f"gralora_{p}_general.weight") for p in "BA"]
    return delta if general[0] is None else delta + general[0] @ general[1]


def dense(family: str, model: nn.Module, config: Any, adapter: str = "default") -> nn.Module:
    """A model without adapters, whose experts are the formula's."""
    base = moe(family)
    with torch.no_grad():
        for name, weight in expert_weights(base):
            for expert, w0 in enumerate(weight.clone()):
                found = factors(model, name, expert, adapter)
                turned = family in ("gpt-oss", "llama4")  # they multiply x @ W
                w = effective(w0.T if turned else w0, found, config)
                weight[expert] = w.T if turned else w
    return base


@pytest.mark.parametrize(("kind", "case"), CASES)
@pytest.mark.parametrize("family", ["mixtral", "gpt-oss"])
def test_every_expert_computes_with_the_formula(family: str, kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe(family), kind, case)
    out, plain = logits(model), logits(moe(family))
    assert (out - plain).abs().max() > 1e-3
    torch.testing.assert_close(out, logits(dense(family, model, model.peft_config["default"])), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "case"), METHODS)
@pytest.mark.parametrize("family", ["qwen3", "deepseek", "llama4"])
def test_other_families_too(family: str, kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe(family), kind, case)
    reference = logits(dense(family, model, model.peft_config["default"]))
    assert (reference - logits(moe(family))).abs().max() > 1e-3
    torch.testing.assert_close(logits(model), reference, rtol=0, atol=1e-12)


def test_which_axis_is_the_output() -> None:
    for family in FAMILIES:
        model: Any = moe(family)
        for name, weight in expert_weights(model):
            innermost = ParameterAsLayer(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
            assert innermost.transposed == (family in ("gpt-oss", "llama4")), name
            into = 16 if "gate_up" in name else weight.numel() // (4 * 16)
            assert innermost.lead == (4,) and innermost.features == (into, weight.numel() // (4 * into)), name


@pytest.mark.parametrize("how", ["eager", "batched_mm", "grouped_mm"])
@pytest.mark.parametrize(("kind", "case"), METHODS)
def test_whatever_computes_the_experts_reads_the_adapted_weight(kind: type, case: dict[str, Any], how: str) -> None:
    model = adapted(moe("mixtral", torch.float32), kind, case)
    model.get_base_model().set_experts_implementation(how)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    twin = adapted(moe("mixtral"), kind, case)
    twin.load_state_dict(state)
    true = logits(twin)
    torch.testing.assert_close(logits(model).double(), true, rtol=1e-3, atol=1e-4)
    (logits(model) ** 2).sum().backward()
    (true**2).sum().backward()
    expected = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys() and all(".experts." in name and "lora_" in name for name in got)
    for name, gradient in got.items():
        torch.testing.assert_close(gradient.double(), expected[name], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_gradients_are_those_of_the_formula(kind: type, case: dict[str, Any]) -> None:
    """Against differences, for one entry of each tensor; the experts alone, for a model's norms are in float32."""
    experts = adapted(moe(), kind, case).base_model.model.model.layers[0].mlp.experts
    generator = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(9, n, dtype=torch.float64, generator=generator) for n in (16, 2))
    index = torch.stack([torch.randperm(4, generator=generator)[:2] for _ in range(9)])

    def loss() -> Tensor:
        return (experts(x, index, weights) ** 2).mean()

    loss().backward()
    for name, parameter in experts.named_parameters():
        assert (parameter.grad is not None) == ("lora_" in name), name
        if parameter.grad is None:
            continue
        at = parameter.grad.abs().flatten().argmax()
        values = []
        for step in (1e-6, -2e-6):
            parameter.data.view(-1)[at] += step
            values.append(float(loss().detach()))
        parameter.data.view(-1)[at] += 1e-6
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(parameter.grad.view(-1)[at]), rel=1e-5), name


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_new_adapter_changes_nothing_and_its_experts_start_as_layers_do(kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe(), kind, case, init_weights=True)
    assert torch.equal(logits(model), logits(moe()))
    for name, tensor in model.named_parameters():
        if name.endswith(("Xu", "gralora_A.default")):  # ± 1/√in, whatever the number of experts is
            into = tensor.shape[-1] if name.endswith("Xu") else tensor.shape[-2]
            assert 0.8 < float(tensor.detach().abs().max()) * into**0.5 <= 1, name
            assert len(torch.unique(tensor.detach().flatten(1), dim=0)) == 4


@pytest.mark.parametrize(("kind", "case"), METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_merging_keeps_every_bit_and_unmerging_brings_them_back(
    kind: type, case: dict[str, Any], dtype: torch.dtype
) -> None:
    model = adapted(moe("mixtral", dtype), kind, case)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    out = logits(model)
    model.merge_adapter(safe_merge=True)
    assert torch.equal(logits(model), out)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(moe("mixtral", dtype)))
    model.unmerge_adapter()
    now = model.state_dict()
    assert now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)
    bare = copy.deepcopy(model).unload()
    assert bare.state_dict().keys() == moe().state_dict().keys()
    assert torch.equal(logits(bare), logits(moe("mixtral", dtype)))
    merged = model.merge_and_unload()
    assert not [m for m in merged.modules() if isinstance(m, ParameterLayer)]
    assert torch.equal(logits(merged), out)


@pytest.mark.parametrize(("kind", "case"), METHODS)
def test_several_adapters(kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe(), kind, case)
    with expecting(INERT):
        model.add_adapter("other", kind(r=8, **{**TARGETS, **case}))
    first = logits(model)
    model.set_adapter("other")
    second = logits(model)
    torch.testing.assert_close(
        second, logits(dense("mixtral", model, model.peft_config["other"], "other")), rtol=0, atol=1e-12
    )
    model.base_model.set_adapter(["default", "other"])
    both = logits(model)
    assert not torch.allclose(both, first) and not torch.allclose(both, second)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), both, rtol=0, atol=1e-13)
    model.unmerge_adapter()
    model.delete_adapter("other")
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    with pytest.raises(ValueError, match="all adapters must target the same set of parameters"):
        model.add_adapter("less", kind(**{**TARGETS, **case, "target_parameters": EXPERTS[:1]}))
    assert torch.equal(logits(model), first) and "less" not in model.peft_config


def test_a_merge_that_is_not_finite_leaves_every_expert() -> None:
    model = adapted(moe(), GraloraConfig, {})
    before = {name: weight.clone() for name, weight in moe().named_parameters()}
    layers = [m for m in model.modules() if isinstance(m, ParameterLayer)]
    layers[0].tensors("default")["gralora_B"].data[2, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"NaNs detected in the merged weights of layer '.*gate_up_proj|down_proj'"):
        model.merge_adapter(safe_merge=True)
    for name, weight in expert_weights(model.unload()):
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize(("kind", "case"), METHODS)
def test_what_is_saved_loads_again(kind: type, case: dict[str, Any], tmp_path: Path) -> None:
    settings = {"target_modules": ["q_proj"], "target_parameters": [*EXPERTS, "gate.weight"]}
    model = adapted(moe(), kind, case, **settings)
    out = logits(model)
    model.save_pretrained(str(tmp_path))
    with expecting(INERT):
        assert torch.equal(logits(load_adapter(moe(), tmp_path).eval()), out)
        model.load_adapter(str(tmp_path), "again")
        transformers_own = moe()
        transformers_own.load_adapter(str(tmp_path))
        low = peft.PeftModel.from_pretrained(moe(), str(tmp_path), low_cpu_mem_usage=True).eval()
    model.set_adapter("again")
    assert torch.equal(logits(model), out)
    assert torch.equal(logits(transformers_own.eval()), out) and torch.equal(logits(low), out)
    names = peft.get_peft_model_state_dict(model, adapter_name="again").keys()
    lora = peft.get_peft_model(moe(), peft.LoraConfig(**settings))
    theirs = {name.partition("lora_")[0] for name in peft.get_peft_model_state_dict(lora)}
    assert {name.partition("glora_" if kind is GloraConfig else "gralora_")[0] for name in names} == theirs


def test_a_file_for_other_experts_is_refused_and_the_model_left(tmp_path: Path) -> None:
    adapted(moe("qwen3"), GraloraConfig, {}).save_pretrained(str(tmp_path))
    model = moe()
    before = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(
        ValueError, match=r"experts.base_layer.gralora_B is \[4, 2, 4, 12\] and must be \[4, 2, 4, 24\]"
    ):
        load_adapter(model, tmp_path)
    assert {name: type(module) for name, module in model.named_modules()} == before


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_budget_counts_each_parameter_by_its_name(kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe(), kind, case)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    carried = path_budget(model)
    planned = path_budget(moe().config, kind(r=4, **{**TARGETS, **case}))
    assert carried.total == planned.total == trained
    assert carried.model_params == sum(p.numel() for p in moe().parameters())
    assert {row.layer for row in carried.rows} == dict(expert_weights(moe())).keys()


def test_stock_loras_parameters_are_counted_too() -> None:
    model = peft.get_peft_model(moe(), peft.LoraConfig(r=4, target_modules=[], target_parameters=EXPERTS))
    assert path_budget(model).total == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_paths_that_change_a_bias_are_inert_and_named() -> None:
    for bias_free in ("drop", "add"):
        said = r"C, D, E \(target_parameters adapts a weight alone\) in 4 layers \(model.layers.0.mlp.experts"
        with pytest.warns(UserWarning, match=said):
            model = peft.get_peft_model(moe("gpt-oss"), GloraConfig(**TARGETS, bias_free=bias_free))
        assert not [name for name, _ in model.named_parameters() if "glora_C" in name or "glora_E" in name]
    with pytest.raises(ValueError, match=r"leaves nothing to train .*adapts a weight alone\). Give A or B .*'lora'\.$"):
        peft.get_peft_model(moe(), GloraConfig.only(E="vector", **TARGETS))


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_parameter_of_two_axes(kind: type, case: dict[str, Any]) -> None:
    model = adapted(moe("gpt-oss"), kind, case, target_parameters=["router.weight"])
    base, config = moe("gpt-oss"), model.peft_config["default"]
    for name, weight in base.named_parameters():
        if name.endswith("router.weight"):
            layer = model.base_model.model.get_submodule(name.removesuffix(".weight"))
            weight.data = effective(weight.data, layer.tensors("default"), config)
    torch.testing.assert_close(logits(model), logits(base), rtol=0, atol=1e-12)
    router: Any = model.base_model.model.model.layers[0].mlp.router
    assert router.bias is router.base_layer.bias and router.num_experts == 4  # what a model may ask of its module


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_parameter_that_another_module_reads_is_the_adapted_one(kind: type, case: dict[str, Any]) -> None:
    names = ["mlp.w1", "mlp.v1", "mlp.w2"]
    model = adapted(dbrx(), kind, case, target_parameters=names)
    out, base = logits(model), dbrx()
    for name, weight in base.named_parameters():
        if name.endswith(tuple(names)):
            layer = next(m for m in model.modules() if isinstance(m, ParameterLayer) and m.layer_name == name)
            weight.data = effective(weight.data, layer.tensors("default"), model.peft_config["default"])
    torch.testing.assert_close(out, logits(base), rtol=0, atol=1e-12)
    out.sum().backward()
    assert all((p.grad is not None) == ("lora_" in name) for name, p in model.named_parameters())
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(dbrx()))
    model.merge_adapter()
    assert torch.equal(logits(model), out)


def test_k_must_divide_both_sides_of_an_expert() -> None:
    with pytest.raises(ValueError, match=r"experts.gate_up_proj.*\(k 3, 16 → 48 features, r 6; k that fit: 1, 2\)"):
        peft.get_peft_model(moe(), GraloraConfig(r=6, gralora_k=3, **TARGETS))
    config = GraloraConfig(r=6, gralora_k=3, on_indivisible="skip", **{**TARGETS, "target_modules": ["lm_head"]})
    with pytest.raises(ValueError, match="leaves nothing to train"):
        peft.get_peft_model(moe(), config)


def test_patterns_reach_parameters_by_their_name() -> None:
    config = GraloraConfig(r=4, k_pattern={"experts.down_proj": 4}, rank_pattern={"experts.down_proj": 8}, **TARGETS)
    model = peft.get_peft_model(moe(), config)
    found = {
        m.layer_name.rpartition(".")[2]: (m.gralora_k["default"], m.r["default"])
        for m in model.modules()
        if isinstance(m, ParameterLayer)
    }
    assert found == {"gate_up_proj": (2, 4), "down_proj": (4, 8)}
    with pytest.warns(RuntimeWarning, match=r"The following rank_pattern keys did not match any .*: \['experts.w1'\]"):
        peft.get_peft_model(moe(), GraloraConfig(r=4, rank_pattern={"experts.w1": 8}, **TARGETS))


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.held = nn.Module()
        self.held.inner = nn.Linear(4, 4)
        self.held.matrix = nn.Parameter(torch.randn(4, 4))
        self.held.vector = nn.Parameter(torch.randn(4))
        self.held.whole = nn.Parameter(torch.zeros(2, 4, 4, dtype=torch.int8), requires_grad=False)
        self.top = nn.Parameter(torch.randn(4, 4))


@pytest.mark.parametrize(
    ("modules", "parameter", "rule"),
    [
        ([], "top", "Targeting an nn.Parameter on the top-level module is not supported"),
        ([], "linear.weight", "belongs to a linear layer: name 'linear' in `target_modules`"),
        ([], "held.vector", "has 1 axes, and 2 or 3 are supported"),
        ([], "held.whole", r"is quantised \(int8\)"),
        (["inner"], "held.matrix", "holds layers of `target_modules`: held.inner"),
        ([], "nothing", "matches no layer"),
    ],
)
def test_parameters_that_cannot_be_adapted(modules: list[str], parameter: str, rule: str) -> None:
    model = Odd()
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=rule):
        peft.get_peft_model(model, GraloraConfig(target_modules=modules, target_parameters=[parameter]))
    assert dict(model.named_modules()) == before


def test_a_parameter_that_is_not_there_is_named() -> None:
    config = GraloraConfig(**{**TARGETS, "target_parameters": [*EXPERTS, "experts.w1"]})
    with pytest.warns(RuntimeWarning, match=r"target_parameters did not match any parameter.*\['experts.w1'\]"):
        peft.get_peft_model(moe(), config)


def test_what_needs_a_layer_is_refused_in_words(tmp_path: Path) -> None:
    model = adapted(moe(), GraloraConfig, {})
    with pytest.raises(ValueError, match="does not support mixed adapter batches"):
        model(IDS, adapter_names=["default", "__base__"])
    with pytest.raises(ValueError, match=r"does not support targeting nn.Parameter"):
        model.add_weighted_adapter(["default"], [1.0], "sum")
    for form in ("peft", "lora"):
        with pytest.raises(ValueError, match=r"`target_parameters` .* is what neither PEFT's"):
            export_peft(model, tmp_path / "export", format=form)
    with pytest.raises(ValueError, match="an adapter of `target_parameters`, which is no single matrix"):
        find_layer(model, "layers.0.mlp.experts.down_proj")
    with pytest.raises(ValueError, match="which is no single matrix"):
        xray(model)
    model.save_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match=r"`target_parameters` .* adapts stacks of matrices"):
        xray(tmp_path)
    assert not (tmp_path / "export").exists()
    for kind, name in ((GloraConfig, "glora_dropout"), (GraloraConfig, "gralora_dropout")):
        with pytest.raises(ValueError, match=f"`{name}` .*must be 0 with `target_parameters`"):
            kind(**{name: 0.1}, **TARGETS)
    with pytest.raises(ValueError, match=r"`target_parameters` .*must be a list"):
        GloraConfig(target_parameters="experts.down_proj")


def test_a_second_kind_of_adapter_on_the_same_module_is_refused() -> None:
    model = peft.get_peft_model(moe(), peft.LoraConfig(target_modules=[], target_parameters=EXPERTS))
    refused = pytest.raises(ValueError, match="carries ParamWrapper already, and is not a valid target")
    with expecting(SECOND_TUNER, "You are trying to modify a model with PEFT"), refused:
        peft.get_peft_model(model.base_model.model, GraloraConfig(**TARGETS))


def test_every_experts_constant_starts_at_the_usual_size() -> None:
    """A single draw near 0 would leave an expert as it is."""
    model = adapted(moe(), GloraConfig, GLORAS["constants"])
    found = [p.detach() for name, p in model.named_parameters() if "glora_A" in name]
    assert found and all(p.shape == (4, 1) for p in found)
    torch.testing.assert_close(torch.cat(found).abs(), torch.full((16, 1), 0.1, dtype=torch.float64))
