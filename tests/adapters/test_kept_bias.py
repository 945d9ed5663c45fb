"""kept_bias.py: W0·C is multiplied once for many single tokens, and anew after every way of changing W0 or C."""

from __future__ import annotations

import copy
import gc
import io
from collections.abc import Callable

import accelerate
import peft
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.glora import kept_bias

from .small_models import GAINED_BIAS, SECOND_TUNER, bits, conv1d, expecting, same_bits

IN, OUT = 256, 272
X = torch.randn(1, IN, generator=torch.Generator().manual_seed(3))
SIZES = [1, 2, 3, 6, 30, 37, 64]
MANY = torch.randn(max(kept_bias.FEW.values()) + 1, IN, generator=torch.Generator().manual_seed(4))
VECTORS = dict.fromkeys("ABCDE", "vector")
CHOICES = {
    "vectors": VECTORS,
    "C lora": {**VECTORS, "A": "constant", "B": "lora", "C": "lora"},
}
each_choice = pytest.mark.parametrize("choice", CHOICES)
CHOICES_OF_ALL = CHOICES | {"products": {**dict.fromkeys("ADE", "none"), "B": "lora", "C": "lora"}}


def config(choice: str = "vectors", **settings) -> GloraConfig:
    return GloraConfig.only(**CHOICES_OF_ALL[choice], r=3, target_modules=["layer"], init_weights=False, **settings)


def adapted(choice: str = "vectors", base: Callable[[int, int], nn.Module] = nn.Linear, **settings) -> peft.PeftModel:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("layer", base(IN, OUT))
    return peft.get_peft_model(net, config(choice, **settings)).eval()


def layer_of(model: nn.Module) -> nn.Module:
    return model.base_model.model.layer


def weight_of(model: nn.Module) -> nn.Parameter:
    return layer_of(model).get_base_layer().weight


def factors_of_c(model: nn.Module, name: str = "default") -> list[nn.Parameter]:
    return list(layer_of(model).glora_C[name].parameters())


def c_of(model: nn.Module) -> nn.Parameter:
    return factors_of_c(model)[0]


@torch.no_grad()
def answer(model: nn.Module, x: Tensor = X) -> Tensor:
    return model(x)


def fresh(model: nn.Module, x: Tensor = X) -> Tensor:
    """The answer of a copy, which has kept nothing."""
    return answer(copy.deepcopy(model), x)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of every W0 whose bias is made anew to be kept, in order."""
    made: list[tuple[int, ...]] = []
    keep = kept_bias._keep

    def counted(paths, parts, weight, base, scaling):
        made.append(tuple(weight.shape))
        return keep(paths, parts, weight, base, scaling)

    monkeypatch.setattr(kept_bias, "_keep", counted)
    return made


def unsampled(weight: Tensor) -> tuple[int, int]:
    """An entry of W0 that the sample does not meet."""
    seen = torch.zeros_like(weight, requires_grad=False)
    kept_bias._sampled(seen).fill_(1)
    return tuple((seen == 0).nonzero()[0].tolist())


@each_choice
@pytest.mark.parametrize("base", [nn.Linear, conv1d], ids=["Linear", "Conv1D"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_one_product_for_many_tokens(products, choice, base, dtype):
    model = adapted(choice, base).to(dtype)
    x = X.to(dtype)
    first = answer(model, x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(model(x), first)
    assert len(products) == 1
    with torch.no_grad():
        model.train()
        assert torch.equal(model(x), first) and len(products) == 1
    with torch.enable_grad():
        tolerance = 1e-2 if dtype is torch.bfloat16 else 1e-5
        assert torch.allclose(model(x), first, tolerance, tolerance) and len(products) == 1


def step(model: nn.Module) -> None:
    optimizer = torch.optim.AdamW(factors_of_c(model), 0.1)
    model(X).square().sum().backward()
    optimizer.step()


def load_c(model: nn.Module, assign: bool = False) -> None:
    state = {name: torch.randn_like(t) if "glora_C" in name else t for name, t in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)


def load_adapter_state(model: nn.Module) -> None:
    state = peft.get_peft_model_state_dict(model)
    peft.set_peft_model_state_dict(model, {name: torch.randn_like(t) for name, t in state.items()})


def another(tensor: Tensor) -> Tensor:
    return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(9), dtype=tensor.dtype)


def replace_c(model: nn.Module) -> None:
    path = layer_of(model).glora_C["default"]
    name = next(iter(path._parameters))
    setattr(path, name, nn.Parameter(another(getattr(path, name))))


def put_numpy(tensor: Tensor, index: object) -> None:
    tensor.detach().numpy()[index] = 2


def second_adapter(model: peft.PeftModel) -> None:
    model.add_adapter("second", config("C lora"))
    model.set_adapter("second")


def again_under_its_name(model: peft.PeftModel) -> None:
    second_adapter(model)
    model.delete_adapter("default")
    model.add_adapter("default", config("vectors"))
    model.set_adapter("default")


def there_and_back(model: peft.PeftModel) -> None:
    second_adapter(model)
    answer(model)
    model.set_adapter("default")
    with torch.no_grad():
        c_of(model).mul_(3)


WAYS_OF_C: dict[str, Callable[[peft.PeftModel], object]] = {
    "optimizer": step,
    "in place": torch.no_grad()(lambda model: c_of(model).mul_(3)),
    "one entry": torch.no_grad()(lambda model: c_of(model)[5].fill_(3)),
    "detach": lambda model: c_of(model).detach().add_(1),
    ".data in place": lambda model: c_of(model).data.fill_(1),
    ".data, one entry": lambda model: c_of(model).data[5].fill_(3),
    ".data assigned": lambda model: setattr(c_of(model), "data", another(c_of(model))),
    "numpy": lambda model: put_numpy(c_of(model), 5),
    "inference mode": torch.inference_mode()(lambda model: c_of(model).mul_(3)),
    "another parameter": replace_c,
    "swap_tensors": lambda model: torch.utils.swap_tensors(c_of(model), nn.Parameter(another(c_of(model)))),
    "vector_to_parameters": lambda model: nn.utils.vector_to_parameters(
        torch.randn(sum(p.numel() for p in factors_of_c(model))), factors_of_c(model)
    ),
    "load_state_dict": load_c,
    "load_state_dict, assigned": lambda model: load_c(model, assign=True),
    "set_peft_model_state_dict": load_adapter_state,
    "another adapter": second_adapter,
    "the same name": again_under_its_name,
    "there and back": there_and_back,
}


def put_data(model: nn.Module, index: object, value: float = 2) -> None:
    weight_of(model).data[index] = value


def replace_weight(model: nn.Module) -> None:
    base = layer_of(model).get_base_layer()
    base.weight = nn.Parameter(another(base.weight), requires_grad=False)


def assign_same_memory(model: nn.Module) -> None:
    """Another storage at the same address, and the sample has not changed."""
    weight = weight_of(model)
    memory = weight.detach().numpy()
    memory[unsampled(weight)] += 50
    weight.data = torch.from_numpy(memory)


def load_w0(model: nn.Module, assign: bool = False) -> None:
    state = {name: another(t) if "base_layer.weight" in name else t for name, t in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)


def replace_shared(model: nn.Module) -> None:
    """The same tensor and storage, elsewhere in memory."""
    weight_of(model).share_memory_()
    put_data(model, unsampled(weight_of(model)), 50)


def merge_beneath(model: peft.PeftModel) -> None:
    """Merged and unmerged by an outer LoRA, in place and through `.data`, which leaves other digits."""
    with expecting(SECOND_TUNER, "You are trying to modify a model with PEFT for a second time"):
        over = peft.LoraConfig(r=2, target_modules=["layer"], init_lora_weights=False)
        outer = peft.get_peft_model(copy.copy(model.base_model.model), over, adapter_name="over")
    outer.merge_adapter()
    outer.unmerge_adapter()


def convert(model: nn.Module) -> None:
    model.half().float()


WAYS_OF_W0: dict[str, Callable[[peft.PeftModel], object]] = {
    "in place": lambda model: weight_of(model).mul_(2),
    "one entry": lambda model: weight_of(model)[unsampled(weight_of(model))].fill_(50),
    "a view": lambda model: weight_of(model).view(-1)[1:2].fill_(50),
    "detach": lambda model: weight_of(model).detach()[unsampled(weight_of(model))].fill_(50),
    "inference mode": torch.inference_mode()(lambda model: weight_of(model).mul_(2)),
    "copy_": lambda model: weight_of(model).copy_(another(weight_of(model))),
    ".data in place": lambda model: weight_of(model).data.add_(1),
    ".data, one row": lambda model: put_data(model, 7),
    ".data, one column": lambda model: put_data(model, (slice(None), 7)),
    ".data, the last row": lambda model: put_data(model, -1),
    ".data, the last column": lambda model: put_data(model, (slice(None), -1)),
    ".data assigned": lambda model: setattr(weight_of(model), "data", another(weight_of(model))),
    ".data assigned, the same memory": assign_same_memory,
    "numpy": lambda model: put_numpy(weight_of(model), 7),
    "shared memory": replace_shared,
    "another parameter": replace_weight,
    "set_": lambda model: weight_of(model).set_(another(weight_of(model))),
    "swap_tensors": lambda model: torch.utils.swap_tensors(
        weight_of(model), nn.Parameter(another(weight_of(model)), requires_grad=False)
    ),
    "load_state_dict": load_w0,
    "load_state_dict, assigned": lambda model: load_w0(model, assign=True),
    "another precision and back": convert,
    "an outer adapter, merged and unmerged": merge_beneath,
}


@each_choice
@pytest.mark.parametrize("way", [*WAYS_OF_C, *(f"W0: {name}" for name in WAYS_OF_W0)])
def test_a_change_is_seen_at_once(products, choice, way):
    ways = WAYS_OF_C | {f"W0: {name}": change for name, change in WAYS_OF_W0.items()}
    model = adapted(choice)
    before = answer(model)
    assert torch.equal(answer(model), before) and len(products) == 1
    ways[way](model)
    model.eval()
    after = answer(model)
    assert torch.equal(after, fresh(model)) and not torch.equal(after, before)


@pytest.mark.parametrize("scale", ["set_scale", "scale_layer"])
def test_the_scale_is_the_present_one(scale):
    model = adapted("C lora")
    answer(model)
    layer = layer_of(model)
    layer.set_scale("default", 0.5) if scale == "set_scale" else layer.scale_layer(0.5)
    assert torch.equal(answer(model), fresh(model))
    layer.unscale_layer()
    assert torch.equal(answer(model), fresh(model))


def test_the_scale_of_what_low_precision_has_kept(products):
    """Products alone, which a scale leaves to the quicker way."""
    model = adapted("products").bfloat16()
    x = X.bfloat16()
    before = answer(model, x)
    layer_of(model).scale_layer(8)
    after = answer(model, x)
    assert torch.equal(after, fresh(model, x)) and not torch.equal(after, before) and len(products) == 3


@each_choice
def test_merged_unmerged_disabled_and_swapped(choice, tmp_path):
    model, other = adapted(choice), adapted(choice)
    for factor in factors_of_c(other):
        factor.data.mul_(2)
    other.save_pretrained(tmp_path)
    first = answer(model)
    model.merge_adapter()
    assert torch.allclose(answer(model), first, 1e-3, 1e-3)
    with torch.no_grad():
        c_of(model).mul_(3)
    model.unmerge_adapter()
    assert torch.equal(answer(model), fresh(model))
    with model.disable_adapter():
        assert torch.equal(answer(model), layer_of(model).base_layer(X))
    hotswap_adapter(model, str(tmp_path), "default")
    assert torch.equal(answer(model), answer(other))


def test_a_mixed_batch_is_each_adapters_own():
    model = adapted()
    second_adapter(model)
    rows, names = X.repeat(2, 1), ["default", "second"]
    alone = {}
    for name in names:
        model.set_adapter(name)
        alone[name] = answer(model)
    with torch.no_grad():
        mixed = model(rows, adapter_names=names)
        assert all(torch.allclose(mixed[i], alone[name][0], 1e-5, 1e-5) for i, name in enumerate(names))
        c_of(model).mul_(3)
        mixed = model(rows, adapter_names=names)
    model.set_adapter("default")
    assert torch.allclose(mixed[0], fresh(model)[0], 1e-5, 1e-5)


def test_a_write_that_nobody_counts_to_one_entry_is_seen_at_the_next_long_pass():
    for long_pass in (lambda model: answer(model, MANY), lambda model: model(X)):
        model = adapted()
        answer(model)
        put_data(model, unsampled(weight_of(model)), 50)
        long_pass(model)
        assert torch.equal(answer(model), fresh(model))


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", SIZES)
def test_the_sample_meets_every_row_and_every_column(rows, columns):
    seen = torch.zeros(rows, columns)
    kept_bias._sampled(seen).fill_(1)
    assert seen.any(0).all() and seen.any(1).all()


def test_few_tokens_without_a_gradient_alone(products):
    model = adapted()
    model(X)
    answer(model, MANY)
    with FlopCounterMode(display=False) as counter:
        answer(model)
        once = counter.get_total_flops()
        answer(model)
    assert counter.get_total_flops() == 2 * once and not products
    answer(model)
    assert len(products) == 1


def test_inference_tensors_are_multiplied_each_time(products):
    with torch.inference_mode():
        model = adapted()
        weight = layer_of(model).base_layer
        weight.weight = nn.Parameter(weight.weight.clone(), requires_grad=False)
        assert weight.weight.is_inference()
        model(X)
        weight.weight[unsampled(weight.weight)] = 50
        assert torch.equal(model(X), fresh(model)) and not products


def test_a_weight_with_gaps_is_multiplied_each_time(products):
    model = adapted()
    weight_of(model).data = torch.randn(OUT, 2 * IN)[:, :IN]
    answer(model)
    put_data(model, 7)
    after = answer(model)
    assert not products and torch.allclose(after, fresh(model), 1e-5, 1e-5)


def test_what_generation_has_kept_does_not_hinder_training(products):
    model = adapted()
    with torch.inference_mode():
        model(X)
    layer_of(model).glora_C.requires_grad_(False)
    kept = kept_bias._OF_PATHS[layer_of(model).glora_A["default"]]
    assert not any(t.is_inference() for t in (kept.added, kept.scale, *kept.parts, kept.weight.sample))
    model(X).square().sum().backward()
    assert len(products) == 1 and layer_of(model).glora_A["default"].X.grad.isfinite().all()


def test_no_copy_and_no_file_has_it():
    model = adapted()
    layer, before = layer_of(model), bits(model)
    answer(model)
    assert same_bits(model, before)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert layer_of(twin).glora_A["default"] not in kept_bias._OF_PATHS
        with torch.no_grad():
            weight_of(twin).mul_(2)
        assert torch.equal(answer(twin), fresh(twin)) and not torch.equal(answer(twin), answer(model))
    assert layer.glora_A["default"] in kept_bias._OF_PATHS


def test_nothing_outlives_the_model_or_its_weight():
    model, kept = adapted(), len(kept_bias._OF_PATHS)
    answer(model)
    storage = StorageWeakRef(weight_of(model).untyped_storage())
    replace_weight(model)
    assert storage.expired()
    assert len(kept_bias._OF_PATHS) == kept + 1
    model.delete_adapter("default")
    gc.collect()
    assert len(kept_bias._OF_PATHS) == kept


def test_offloaded_weights():
    model = adapted()
    expected = answer(model)
    accelerate.cpu_offload(model)
    assert torch.allclose(answer(model), expected, 1e-5, 1e-5)
    layer_of(model).base_layer._hf_hook.weights_map["weight"].mul_(2)
    twin = adapted()
    with torch.no_grad():
        weight_of(twin).mul_(2)
    assert torch.allclose(answer(model), answer(twin), 1e-5, 1e-5)


def test_compiled_and_after():
    model = adapted()
    compiled = torch.compile(model, backend="eager")
    for x in (X, X):
        assert torch.allclose(answer(compiled, x), answer(model, x), 1e-5, 1e-5)
        with torch.no_grad():
            weight_of(model).mul_(2)


def test_a_bias_that_the_base_has_not():
    with expecting(GAINED_BIAS, "Inert GLoRA paths"):
        model = adapted(base=lambda i, o: nn.Linear(i, o, bias=False), bias_free="add")
        answer(model)
        weight_of(model).data.mul_(2)
        assert torch.equal(answer(model), fresh(model))


def test_a_file_that_is_written_while_it_is_mapped(tmp_path):
    model, file = adapted(), str(tmp_path / "w0.safetensors")
    save_file({"weight": weight_of(model).detach()}, file)
    weight_of(model).data = load_file(file)["weight"]
    assert torch.equal(answer(model), fresh(model))
