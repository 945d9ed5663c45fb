"""Adapters over layers whose weight is quantised, which are asked as functions: a stand-in, and, where installed, the
layers of bitsandbytes and torchao. (`make quantised` runs these: importing peft would load both in every process.)"""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Callable

import peft
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from glora_lab import path_budget, path_picture, xray
from glora_lab.adapters import GloraConfig, GraloraConfig, GraloraLinear, export_peft, load_adapter
from glora_lab.adapters.base.frozen import is_quantised

from .small_models import SECOND_TUNER, SINGLES, expecting, glora_layer, largest_difference, llama, named

IN, OUT = 64, 32
X = torch.randn(5, IN, generator=torch.Generator().manual_seed(7))
REQUIRED = bool(os.environ.get("GLORA_LAB_REQUIRE_QUANTISED"))
EVERY = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
VECTORS = {"A": "vector", "B": "vector", "C": "vector", "D": "constant", "E": "constant"}


class EightBits(nn.Linear):
    """A stand-in for a quantised layer: bytes with one scale a row."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        scale = layer.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.weight = nn.Parameter((layer.weight.detach() / scale).round().to(torch.int8), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype), self.bias)


def bitsandbytes_8(layer: nn.Linear) -> nn.Module:
    from bitsandbytes.nn import Linear8bitLt

    made = Linear8bitLt(layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False)
    made.load_state_dict(layer.state_dict())
    return made.to("cpu")


def bitsandbytes_4(layer: nn.Linear) -> nn.Module:
    from bitsandbytes.nn import Linear4bit

    made = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, quant_type="nf4")
    made.load_state_dict(layer.state_dict())
    made.support_avx512bf16_for_cpu = False  # the same on every processor; see test_an_evaluation_…
    return made.to("cpu")


def torchao_8(layer: nn.Linear) -> nn.Module:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    made = copy.deepcopy(layer)
    quantize_(made, Int8WeightOnlyConfig())
    return made


# what makes the layer, and how far its answer may be from a matrix (bitsandbytes' 8 bits round the inputs as well)
KINDS: dict[str, tuple[Callable[[nn.Linear], nn.Module], float]] = {
    "a stand-in": (EightBits, 1e-5),
    "bitsandbytes 8": (bitsandbytes_8, 0.03),
    "bitsandbytes 4": (bitsandbytes_4, 1e-5),
    "torchao 8": (torchao_8, 1e-5),
}


def kind_or_skip(name: str) -> tuple[Callable[[nn.Linear], nn.Module], float]:
    module = name.split()[0]
    if module != "a" and not REQUIRED and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here; `make quantised` installs it apart")
    return KINDS[name]


@pytest.fixture(params=KINDS)
def kind(request) -> tuple[Callable[[nn.Linear], nn.Module], float]:
    return kind_or_skip(request.param)


def net(quantise: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(quantise(nn.Linear(IN, OUT)), nn.Tanh(), quantise(nn.Linear(OUT, 16, bias=False))).eval()


def matrix(layer: nn.Module) -> nn.Linear:
    """A plain layer with the matrix that a quantised one stands for."""
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    with torch.no_grad():
        bias = 0 if layer.bias is None else layer.bias
        plain.weight.copy_((layer(torch.eye(layer.in_features)) - bias).T)
        if layer.bias is not None:
            plain.bias.copy_(layer.bias)
    return plain.requires_grad_(False)


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """What the adapter adds, and the gradients of its parameters."""
    out = layer(x)
    grads = torch.autograd.grad(out.sin().sum(), [p for p in layer.parameters() if p.requires_grad])
    return [out - layer.base_layer(x), *grads]


def near(got: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for mine, true in zip(got, wanted, strict=True):
        assert mine.shape == true.shape and mine.dtype == true.dtype
        assert largest_difference(mine, true) <= tolerance * true.abs().max().clamp(min=1)


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("choice", [*SINGLES, EVERY, VECTORS], ids=named)
def test_every_path_adds_what_it_adds_to_the_matrix(kind, choice, form):
    if choice["A"] == "lora" and form == "elementwise":
        return  # refused: the next test
    make, tolerance = kind
    layer = glora_layer(make(nn.Linear(IN, OUT)), choice, A_form=form)
    layer.base_layer.requires_grad_(False)
    plain = copy.deepcopy(layer)
    plain.base_layer = matrix(layer.base_layer)
    assert is_quantised(layer.base_layer) and not is_quantised(plain.base_layer)
    near(results(layer, X), results(plain, X), tolerance)


def test_blocks_need_nothing_of_the_base(kind):
    make, _ = kind
    layer = GraloraLinear(make(nn.Linear(IN, OUT)), "default", GraloraConfig(r=4, hybrid_r=2, init_weights=False))
    layer.base_layer.requires_grad_(False)
    added = results(layer, X)[0]
    assert largest_difference(added, X @ layer.get_delta_weight("default").T) < 1e-5


@pytest.mark.parametrize("asked", [{}, {"config_A": "none", "path_pattern": {"2": {"A": "lora"}}}], ids=str)
def test_elementwise_lora_a_is_refused_with_what_to_use(kind, asked):
    model = net(kind[0])
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=r"quantised.*A_form='product'.*config_A='vector'"):
        peft.get_peft_model(model, GloraConfig(target_modules=["0", "2"], **asked))
    assert dict(model.named_modules()) == before
    peft.get_peft_model(model, GloraConfig(target_modules=["0"], config_A="vector"))


CONFIGS = {
    "GLoRA": GloraConfig(r=3, A_form="product", target_modules=["0", "2"], bias_free="add", init_weights=False),
    "GLoRA vectors": GloraConfig(config_A_B="vector", config_C="vector", target_modules=["0"], init_weights=False),
    "GraLoRA": GraloraConfig(r=4, target_modules=["0", "2"], init_weights=False),
}
INERT = "ignore:Inert GLoRA paths"


@pytest.fixture(params=CONFIGS)
def model(request, kind) -> peft.PeftModel:
    return peft.get_peft_model(net(kind[0]), copy.deepcopy(CONFIGS[request.param])).eval()


@pytest.mark.filterwarnings(INERT)
def test_merging_is_refused_and_the_rest_works(model, kind, tmp_path):
    expected = model(X)
    for merge in (model.merge_adapter, model.merge_and_unload, lambda: model.merge_adapter(safe_merge=True)):
        with pytest.raises(ValueError, match=r"Layer '[02]' keeps its weight quantised"):
            merge()
    assert torch.equal(model(X), expected)
    model.save_pretrained(tmp_path)
    assert torch.equal(load_adapter(net(kind[0]), tmp_path).eval()(X), expected)
    with model.disable_adapter():
        assert torch.equal(model(X), net(kind[0])(X))
    assert torch.equal(model.unload()(X), net(kind[0])(X))


@pytest.mark.filterwarnings(INERT)
def test_it_is_counted_seen_and_exported(model, kind, tmp_path):
    expected = model(X)
    assert path_budget(model).total == sum(p.numel() for p in model.parameters() if p.requires_grad)
    layer = model.base_model.model[0]
    delta = layer.get_delta_weight("default")
    assert delta.shape == (OUT, IN) and delta.dtype == torch.float32
    assert xray(model).row("0").norm == pytest.approx(delta.double().norm().item(), rel=1e-3)
    if hasattr(layer, "glora_A"):
        assert abs(path_picture(model, "0").w0 - matrix(layer.base_layer).weight.numpy()).max() < 1e-5
    export_peft(model, tmp_path, format="lora")
    base = model.unload()
    with expecting("`lora_bias=True` was passed"):  # bias_free="add"
        plain = peft.PeftModel.from_pretrained(nn.Sequential(matrix(base[0]), base[1], matrix(base[2])), tmp_path)
    near([plain(X)], [expected], 10 * kind[1])


@pytest.mark.filterwarnings(INERT)
def test_it_learns(model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.Adam(parameters, lr=1e-2), []
    for _ in range(20):
        loss = (model.train()(X) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0] and all(p.grad.abs().sum() > 0 for p in parameters)


@pytest.mark.filterwarnings(INERT)
def test_over_a_lora_on_a_quantised_layer(kind):
    asked = GloraConfig(target_modules=["0"], A_form="product", init_weights=False)
    with expecting("TorchaoLoraLinear was instantiated", SECOND_TUNER, "You are trying to modify a model with PEFT"):
        lora = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
        inner = peft.get_peft_model(net(kind[0]), lora).eval().base_model.model
        model = peft.get_peft_model(inner, asked).eval()
    layer = model.base_model.model[0]
    plain = copy.deepcopy(layer)
    plain.base_layer.base_layer = matrix(layer.get_base_layer())
    near([layer(X)], [plain(X)], 10 * kind[1])


def rewriting(rewritten: bool = False, twice: bool = True) -> nn.Module:
    """4-bit layers as on a processor for which bitsandbytes rewrites them at the first evaluation, or after that; the
    scales of each row its own, and quantised themselves (`twice`) or not."""
    kind_or_skip("bitsandbytes 4")
    from bitsandbytes.functional import _convert_weight_packed_for_cpu
    from bitsandbytes.nn import Linear4bit

    torch.manual_seed(3)
    made = nn.Sequential(nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 64))
    for n in (0, 2):
        plain = made[n]
        plain.weight.data *= torch.logspace(-1, 0.3, len(plain.weight))[:, None]
        made[n] = layer = Linear4bit(128, len(plain.weight), quant_type="nf4", compress_statistics=twice)
        layer.load_state_dict(plain.state_dict())
        layer.to("cpu")
        layer.support_avx512bf16_for_cpu = True
        if rewritten:
            data, layer.weight.quant_state = _convert_weight_packed_for_cpu(layer.weight.data, layer.weight.quant_state)
            layer.weight.data = data
    return made


def gradients(model: nn.Module) -> list[Tensor]:
    loss = model.train()(torch.linspace(-1, 1, 5 * 128).view(5, 128)).square().sum()
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


@pytest.mark.parametrize("targets", [["0", "2"], ["0"]], ids=str)
def test_an_evaluation_leaves_the_gradients_as_they_were(targets):
    """Also where a layer without an adapter lies between the loss and one that has one."""
    config = GloraConfig(config_A_B="vector", config_C="vector", target_modules=targets, init_weights=False)
    model = peft.get_peft_model(rewriting(), config)
    before = gradients(model)
    with torch.no_grad():
        model.eval()(torch.ones(1, 128))
    assert all(torch.equal(*pair) for pair in zip(gradients(model), before, strict=True))
    model.eval()(torch.ones(1, 128)).sum().backward()  # in evaluation mode a gradient comes as well


@pytest.mark.parametrize("twice", [True, False])
def test_layers_that_were_rewritten_before_are_turned_back(twice):
    config = GraloraConfig(r=8, target_modules=["0", "2"], init_weights=False)
    torch.manual_seed(5)
    model = peft.get_peft_model(rewriting(rewritten=True, twice=twice), config)
    torch.manual_seed(5)
    true = peft.get_peft_model(rewriting(twice=twice), config)
    x = torch.linspace(-1, 1, 3 * 128).view(3, 128)
    near([model(x), *gradients(model)], [true(x), *gradients(true)], 0.02)  # the scales were rounded before


def quantization(kind: str) -> transformers.utils.quantization_config.QuantizationConfigMixin:
    kind_or_skip(kind)
    if kind == "torchao 8":
        from torchao.quantization import Int8WeightOnlyConfig

        return transformers.TorchAoConfig(Int8WeightOnlyConfig())
    return transformers.BitsAndBytesConfig(load_in_8bit=kind.endswith("8"), load_in_4bit=kind.endswith("4"))


@pytest.mark.filterwarnings(INERT)
# transformers 5.23 calls it activation checkpointing, 5.15 does not know the name
@pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("config", [CONFIGS["GLoRA"], CONFIGS["GraLoRA"]], ids=["GLoRA", "GraLoRA"])
@pytest.mark.parametrize("kind_name", [name for name in KINDS if name != "a stand-in"])
def test_a_model_that_transformers_quantised(tmp_path, kind_name, config):
    """Loaded in 8 or 4 bits, prepared as PEFT asks for, trained a step, saved and read back."""
    asked = {"quantization_config": quantization(kind_name), "device_map": {"": "cpu"}}
    llama().save_pretrained(tmp_path / "base")
    base = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", **asked)
    settings = {**config.to_dict(), "target_modules": "all-linear"}
    base = peft.prepare_model_for_kbit_training(base, gradient_checkpointing_kwargs={"use_reentrant": False})
    model = peft.get_peft_model(base, type(config).from_peft_type(**settings))
    ids = torch.arange(16).view(2, 8)
    model.train()(input_ids=ids, labels=ids).loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in trained)
    torch.optim.SGD(trained, lr=0.1).step()
    model.save_pretrained(tmp_path / "adapter")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", **asked)
    loaded = load_adapter(again, tmp_path / "adapter")
    assert torch.equal(loaded.eval()(ids).logits, model.eval()(ids).logits)
