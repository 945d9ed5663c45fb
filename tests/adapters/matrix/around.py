"""Operations of the matrix: what the code around an adapted layer does with it, while it trains."""

from __future__ import annotations

import warnings

import peft
import torch
from torch import Tensor, nn
from torch.autograd import grad

from ..small_models import replica_of
from .case import Case, near, same
from .living import parts


def writing_into_the_output(case: Case) -> None:
    """`h += residual`, `nn.ReLU(inplace=True)`: the gradients are those of `h + residual`."""
    model, found = case.adapted(), []
    layer = parts(model)[0]
    for write in (lambda h: h.add_(1).relu_(), lambda h: (h + 1).relu()):
        with layer.register_forward_hook(lambda *call, write=write: write(call[2])):
            model(**case.family.batch).logits.square().mean().backward()
        found.append([p.grad for p in model.parameters() if p.requires_grad])
        model.zero_grad()
    assert all(near(mine, wanted) for mine, wanted in zip(*found, strict=True))


def a_gradient_of_a_gradient(case: Case) -> None:
    """`create_graph=True`, as a penalty on the gradient asks for: |W·x|² has the Hessian 2·WᵀW."""
    layer, x, weight = _layer(case)
    (first,) = grad(layer(x).square().sum(), x, create_graph=True)
    second = grad(first.sum(), [x, *_trained(layer)])
    assert near(second[0], (2 * weight.T @ weight).sum(0).expand_as(x))
    assert all(of.any() for of in second[1:3])


def a_batch_of_gradients(case: Case) -> None:
    """`is_grads_batched`, and `jacobian(vectorize=True)`, of many tokens."""
    layer, x, weight = _layer(case)
    out, wanted = layer(x), [x, *_trained(layer)]
    several = torch.randn(3, *out.shape)
    one_by_one = [grad(out, wanted, one, retain_graph=True, allow_unused=True) for one in several]
    together = grad(out, wanted, several, is_grads_batched=True, allow_unused=True)
    for mine, each in zip(together, zip(*one_by_one, strict=True), strict=True):
        assert (mine is None and each[0] is None) or near(mine, torch.stack(each))
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0, 0], x, vectorize=True)
    assert near(jacobian[:, 0, 0], weight)


def tracing_in_training(case: Case) -> None:
    """`torch.jit.trace` of a layer; what it makes trains."""
    layer, x, _ = _layer(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather compile
        traced = torch.jit.trace(layer.train(), x.detach())
    found = [[out, *grad(out.square().sum(), x)] for out in (layer(x), traced(x))]
    assert all(near(mine, wanted) for mine, wanted in zip(*found, strict=True))


def a_copy_of_data_parallel(case: Case) -> None:
    """What `nn.DataParallel` runs on each device gives its gradients to the parameters themselves."""
    model, found = case.adapted(), []
    dtype = torch.float32 if case.family.parameters else torch.float64  # a layer's copy adds up in another order
    model.to(dtype)
    batch = {name: of.to(dtype) if of.is_floating_point() else of for name, of in case.family.batch.items()}
    for one in (model, replica_of(model)):
        one(**batch).logits.square().mean().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.requires_grad])
        model.zero_grad()
    assert all(near(mine, wanted) for mine, wanted in zip(*found, strict=True))


def made_under_inference_mode(case: Case) -> None:
    """An adapter that is put on within `torch.inference_mode()` trains afterwards."""
    model = case.family.model()
    with torch.inference_mode():
        adapted = peft.get_peft_model(model, case.config())
    _trains(case, adapted)


def merged_under_inference_mode(case: Case) -> None:
    """A base into which an adapter was merged within `torch.inference_mode()` can be adapted and trained."""
    adapted = case.adapted()
    with torch.inference_mode():
        plain = adapted.merge_and_unload()
    assert not any(p.is_inference() for p in plain.parameters())
    _trains(case, peft.get_peft_model(plain, case.config()))


def a_ragged_batch(case: Case) -> None:
    """A jagged nested tensor: each sequence as if it came alone, and the input's offsets."""
    layer, x, _ = _layer(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype, torch says
        jagged = torch.nested.as_nested_tensor([x[0, :3], x[1, :5]], layout=torch.jagged)
        out = layer(jagged)
    assert out.is_nested and all(
        near(mine, layer(one)) for mine, one in zip(out.unbind(), jagged.unbind(), strict=True)
    )


def packed_afterwards(case: Case) -> None:
    """`quantize_dynamic` of the model with its adapter: about the same answers."""
    model = case.adapted()
    expected = case.out(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it will move
        packed = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        found = case.out(packed)
    assert (found - expected).abs().max() < 0.2 * expected.abs().max() and not same(found, expected)


def _layer(case: Case) -> tuple[nn.Module, Tensor, Tensor]:
    """A layer that carries the adapter, 2×20 tokens for it, and its W_eff as (out, in)."""
    layer = parts(case.adapted(target_modules=[case.family.target]))[0]
    base = layer.get_base_layer()
    weight = base.weight + layer.get_delta_weight("default")
    weight = weight if isinstance(base, nn.Linear) else weight.T
    return layer, torch.randn(2, 20, weight.shape[1], requires_grad=True), weight.detach()


def _trained(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


def _trains(case: Case, model: nn.Module) -> None:
    model(**case.family.batch).logits.square().mean().backward()
    trained = {name: p.grad for name, p in model.named_parameters() if case.prefix in name}
    assert trained and all(of is not None for of in trained.values()) and any(of.any() for of in trained.values())
