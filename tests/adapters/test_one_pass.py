"""Base and paths in one pass: the numbers of the paths beside the base, checked gradients, and where it is left."""

from __future__ import annotations

import copy
import io
import itertools

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from glora_lab.adapters.glora import formula, plain_base, scaled_weight
from glora_lab.adapters.glora import layer as glora
from glora_lab.adapters.glora.path_modules import Paths
from glora_lab.adapters.glora.plain_base import PlainBase
from glora_lab.adapters.glora.scaled_weight import Blocking, ScaledWeight

from .block_models import gralora_layer
from .small_models import SINGLES, choices, conv1d, glora_layer, largest_difference, named

# torch compiles its forward-mode formulas at the first jvp, with a function that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
ALL_LORA = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
ALL_VECTOR = dict.fromkeys("ABCDE", "vector")
NONE = dict.fromkeys("ABCDE", "none")
TOGETHER = [ALL_LORA, ALL_VECTOR, {**ALL_VECTOR, "C": "none", "A": "constant", "D": "constant", "E": "constant"}]
FORMS = ["elementwise", "product"]


def layer_of(choice: dict[str, str], sizes: tuple[int, int] = (6, 5), base: str = "Linear", **settings) -> nn.Module:
    layer = glora_layer(BASES[base](*sizes).double(), choice, **settings)
    layer.base_layer.requires_grad_(False)
    return layer


def trained(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


def results(layer: nn.Module, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """Output, the gradient of x, and that of every parameter."""
    out = layer(x)
    return [out, *torch.autograd.grad(out, [x, *trained(layer)], upstream)]


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every pass over base and paths together from here on."""
    passes: list[int] = []

    def counted(paths: Paths, x: Tensor, *args, **kwargs) -> Tensor:
        passes.append(x.numel() // x.shape[-1])
        return formula.output(paths, x, *args, **kwargs)

    monkeypatch.setattr(glora, "output", counted)
    return passes


@pytest.mark.parametrize("tokens", [(3,), (2, 40)], ids=str)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("form", FORMS)
def test_every_choice_equals_the_formula_with_its_gradients(monkeypatch, form, base, tokens):
    """Over a layer large enough that C rides along and lora-A is not formed at once."""
    monkeypatch.setattr(scaled_weight, "SMALL", 0)
    monkeypatch.setattr(plain_base, "SMALL", 0)
    for choice in choices(form)[: -1 if form == "elementwise" else None]:  # the last is off
        layer = layer_of(choice, (12, 10), base, A_form=form, alpha=6)
        x = torch.randn(*tokens, 12, dtype=torch.double, requires_grad=True)
        upstream = torch.randn(*tokens, 10, dtype=torch.double)
        passes = count_passes(monkeypatch)
        ours = results(layer, x, upstream)
        assert len(passes) == 1, named(choice)
        with monkeypatch.context() as plain:
            plain.setattr(glora, "applies", lambda *_: False)
            theirs = results(layer, x, upstream)
        for mine, wanted in zip(ours, theirs, strict=True):
            assert largest_difference(mine, wanted) < 1e-11 * wanted.abs().max().clamp(min=1), named(choice)


@pytest.mark.parametrize("frozen", ["x", "the paths"])
@pytest.mark.parametrize("choice", [*SINGLES, *TOGETHER], ids=named)
def test_a_gradient_that_nobody_asked_for_is_left_out(frozen, choice):
    for form, tokens in itertools.product(FORMS, (3, 40)):
        layer = layer_of(choice, A_form=form)
        x = torch.randn(tokens, 6, dtype=torch.double, requires_grad=True)
        upstream = torch.randn(tokens, 5, dtype=torch.double)
        _, of_x, *of_paths = results(layer, x, upstream)
        if frozen == "x":
            got = torch.autograd.grad(layer(x.detach()), trained(layer), upstream)
            assert all(largest_difference(g, w) < 1e-12 for g, w in zip(got, of_paths, strict=True))
        else:
            layer.requires_grad_(False)
            assert largest_difference(torch.autograd.grad(layer(x), x, upstream)[0], of_x) < 1e-12


def test_a_gradient_has_memory_of_its_own():
    """Two layers that share what flows back to them, as beside a residual connection, share no gradient."""
    x, upstream = torch.randn(1, 6, dtype=torch.double), torch.ones(1, 5, dtype=torch.double)
    for choice in (ALL_LORA, ALL_VECTOR):
        layers = [layer_of(choice), layer_of(choice)]
        sum(layer(x) for layer in layers).backward(upstream)
        for parameter in (p for layer in layers for p in trained(layer)):
            parameter.grad.zero_()
        assert torch.equal(upstream, torch.ones(1, 5, dtype=torch.double))
        layers[0](x).backward(upstream)
        assert all(not p.grad.any() for p in trained(layers[1]))


@pytest.mark.parametrize("plus_one", [True, False])
@pytest.mark.parametrize(
    "how", [Blocking(True, 0), Blocking(False, 3), Blocking(False, 7), Blocking(False, 100)], ids=str
)
def test_every_way_of_scaling_a_weight_is_the_same_product(monkeypatch, how, plus_one):
    monkeypatch.setattr(scaled_weight, "blocking", lambda *_: how)
    v, p, q, x, g = (torch.randn(s, dtype=torch.double) for s in [(7, 9), (7, 2), (2, 9), (4, 9), (4, 7)])
    scaled, matrix = ScaledWeight(v, p, q, plus_one=plus_one), v * (p @ q + plus_one)
    assert largest_difference(scaled.to_rows(x), x @ matrix.T) < 1e-12
    assert largest_difference(scaled.to_rows(x, v[:, 0]), x @ matrix.T + v[:, 0]) < 1e-12
    assert largest_difference(scaled.to_rows(x, g.clone()), x @ matrix.T + g) < 1e-12
    assert largest_difference(scaled.to_columns(g), g @ matrix) < 1e-12
    assert largest_difference(scaled.to_columns(g, v[0]), g @ matrix + v[0]) < 1e-12
    assert largest_difference(scaled.to_columns(g, x.clone()), g @ matrix + x) < 1e-12
    dense = (g.T @ x) * v
    for got, wanted in zip(scaled.gradients(g, x), (dense @ q.T, p.T @ dense), strict=True):
        assert largest_difference(got, wanted) < 1e-12


def test_c_costs_few_tokens_no_product_of_its_own(monkeypatch):
    """It is added to x, or rides along where x is needed alone; many tokens leave it to a product of one vector."""
    monkeypatch.setattr(plain_base, "SMALL", 0)
    seen: list[int] = []
    linear = PlainBase.linear

    def noted(self: PlainBase, x: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(len(x))
        return linear(self, x, bias)

    monkeypatch.setattr(PlainBase, "linear", noted)
    for choice in ({**NONE, "C": "vector"}, {**NONE, "A": "vector", "C": "vector"}):
        for tokens in (2, 40):
            layer_of(choice)(torch.randn(tokens, 6, dtype=torch.double))
    assert seen == [2, *(1, 40), 3, *(40, 1)]  # the rows of each product with W0


@pytest.mark.parametrize("tokens", [1, 3, 16, 100])
@pytest.mark.parametrize("base", BASES)
def test_a_large_layer_is_multiplied_in_the_way_of_its_tokens(base, tokens):
    layer = layer_of(ALL_LORA, (300, 260), base)
    x = torch.randn(tokens, 300, dtype=torch.double)
    weight = layer.base_layer.weight + layer.get_delta_weight("default")
    weight = weight.T if base == "Conv1D" else weight
    bias = layer.base_layer.bias + sum(layer.bias_terms("default").values())
    assert largest_difference(layer(x), torch.nn.functional.linear(x, weight, bias)) < 1e-11


def check_gradients(layer: nn.Module, x: Tensor) -> bool:
    parameters = trained(layer)

    def function(x: Tensor, *_: Tensor) -> Tensor:
        return layer(x)

    return torch.autograd.gradcheck(function, (x, *parameters), fast_mode=len(x) > 8)


@pytest.mark.parametrize("tokens", [2, 35])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("choice", [*SINGLES, *TOGETHER], ids=named)
def test_gradcheck(choice, form, tokens):
    x = torch.randn(tokens, 6, dtype=torch.double, requires_grad=True)
    for base, bias_free in (("Linear", "drop"), ("Conv1D", "drop")):
        layer = layer_of(choice, base=base, A_form=form, bias_free=bias_free, r=2)
        assert check_gradients(layer, x)


@pytest.mark.parametrize("settings", [{"gralora_k": k} for k in (1, 2, 4)] + [{"gralora_k": 2, "hybrid_r": 2}], ids=str)
def test_gradcheck_of_gralora(settings):
    layer = gralora_layer(nn.Linear(8, 12).double(), r=4, **settings)
    layer.base_layer.requires_grad_(False)
    assert check_gradients(layer, torch.randn(3, 8, dtype=torch.double, requires_grad=True))


CASES = [pytest.param(c, f, id=f"{named(c)}-{f}") for c in TOGETHER for f in FORMS]


@pytest.mark.parametrize("choice, form", CASES)
class TestElsewhere:
    """Where torch transforms the layer or runs it twice, the numbers stay."""

    @pytest.fixture
    def setting(self, choice, form) -> tuple[nn.Module, Tensor, list[Tensor]]:
        layer = layer_of(choice, A_form=form)
        x = torch.randn(40, 6, dtype=torch.double, requires_grad=True)
        return layer, x, results(layer, x, torch.ones(40, 5, dtype=torch.double))

    @staticmethod
    def same(layer: nn.Module, run, x: Tensor, expected: list[Tensor]) -> None:
        out = run(x)
        got = [out, *torch.autograd.grad(out.sum(), [x, *trained(layer)])]
        assert all(largest_difference(g, w) < 1e-11 for g, w in zip(got, expected, strict=True))

    @pytest.mark.parametrize("reentrant", [True, False])
    def test_checkpointing(self, setting, reentrant):
        layer, x, expected = setting
        out = checkpoint(layer, x, use_reentrant=reentrant)
        out.sum().backward()
        got = [out, x.grad, *(p.grad for p in trained(layer))]
        assert all(largest_difference(g, w) < 1e-11 for g, w in zip(got, expected, strict=True))

    def test_vmap_jvp_vjp_and_functional_call(self, setting):
        layer, x, expected = setting
        assert largest_difference(torch.func.vmap(layer)(x), expected[0]) < 1e-11
        out, pull_back = torch.func.vjp(layer, x)
        assert largest_difference(pull_back(torch.ones_like(out))[0], expected[1]) < 1e-11
        tangent = torch.randn_like(x)
        moved = torch.func.jvp(layer, (x,), (tangent,))[1]
        assert largest_difference(moved.sum(), (expected[1] * tangent).sum()) < 1e-10
        doubled = {name: p.detach() * 2 for name, p in layer.named_parameters() if p.requires_grad}
        called = torch.func.functional_call(layer, doubled, (x,))
        with torch.no_grad():
            for parameter in trained(layer):
                parameter.mul_(2)
        assert largest_difference(called, layer(x)) < 1e-11

    def test_forward_mode_without_torch_func(self, setting):
        layer, x, expected = setting
        tangent = torch.randn_like(x)
        with forward_ad.dual_level():
            moved = forward_ad.unpack_dual(layer(forward_ad.make_dual(x.detach(), tangent))).tangent
        assert largest_difference(moved.sum(), (expected[1] * tangent).sum()) < 1e-10

    def test_copies_and_pickles(self, setting):
        layer, x, expected = setting
        held = io.BytesIO()
        torch.save(layer, held)
        held.seek(0)
        for copied in (copy.deepcopy(layer), torch.load(held, weights_only=False)):
            self.same(copied, copied, x, expected)

    def test_autocast(self, setting):
        layer, x, expected = setting
        layer, x = layer.float(), x.detach().float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(x)
        assert out.dtype == torch.bfloat16
        out.float().sum().backward()
        for got, wanted in zip([out, x.grad, *(p.grad for p in trained(layer))], expected, strict=True):
            assert largest_difference(got, wanted) < 0.05 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("choice, form", CASES)
def test_compile_in_one_graph(choice, form):
    layer = layer_of(choice, A_form=form)
    x = torch.randn(40, 6, dtype=torch.double, requires_grad=True)
    expected = results(layer, x, torch.ones(40, 5, dtype=torch.double))
    torch._dynamo.reset()
    TestElsewhere.same(layer, torch.compile(layer, fullgraph=True, backend="aot_eager"), x, expected)


def test_distributed_data_parallel(tmp_path):
    layer = layer_of(ALL_LORA)
    x = torch.randn(40, 6, dtype=torch.double, requires_grad=True)
    expected = results(layer, x, torch.ones(40, 5, dtype=torch.double))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(layer)
        parallel(x).sum().backward()
    finally:
        dist.destroy_process_group()
    for got, wanted in zip([x.grad, *(p.grad for p in trained(layer))], expected[1:], strict=True):
        assert largest_difference(got, wanted) < 1e-11


class Shouting(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


LEFT_ALONE = {
    "a hook": lambda innermost: innermost.register_forward_hook(lambda module, args, out: out + 1),
    "a hook before": lambda innermost: innermost.register_forward_pre_hook(lambda module, args: (args[0] + 1,)),
    "a forward of its own": lambda innermost: setattr(
        innermost, "forward", lambda x: nn.Linear.forward(innermost, x) + 1
    ),
    "a class of its own": lambda innermost: setattr(innermost, "__class__", Shouting),
}


@pytest.mark.parametrize("why", LEFT_ALONE)
def test_a_base_with_a_will_of_its_own_is_called(monkeypatch, why):
    layer, x = layer_of(ALL_LORA, A_form="product"), torch.randn(3, 6, dtype=torch.double)
    before = layer(x)
    passes = count_passes(monkeypatch)
    LEFT_ALONE[why](layer.base_layer)
    assert largest_difference(layer(x), before) > 0.1 and not passes


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_base_that_trains_gets_its_gradient(name):
    layer, x = layer_of(ALL_LORA), torch.randn(3, 6, dtype=torch.double)
    getattr(layer.base_layer, name).requires_grad_()
    layer(x).sum().backward()
    assert getattr(layer.base_layer, name).grad.abs().sum() > 0


def test_dropout_is_left_to_the_formula(monkeypatch):
    layer, x = layer_of(ALL_LORA, glora_dropout=0.5), torch.randn(3, 6, dtype=torch.double)
    passes = count_passes(monkeypatch)
    assert not torch.equal(layer(x), layer(x)) and not passes
    layer.eval()
    assert torch.equal(layer(x), layer(x)) and len(passes) == 2


@pytest.mark.parametrize("slow", [True, False], ids=["slow", "native"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("adapter", [torch.float32, None], ids=["float32", "as the base"])
@pytest.mark.parametrize("choice", [*SINGLES, *TOGETHER], ids=named)
def test_low_precision_has_the_gradients_of_float64(monkeypatch, choice, adapter, dtype, slow):
    """Both ways on every processor, whichever it would take itself."""
    monkeypatch.setattr(formula, "is_slow", lambda *_: slow)
    for form, tokens, base in itertools.product(FORMS, (3, 64), BASES):
        layer = glora_layer(BASES[base](48, 32).to(dtype), choice, A_form=form)
        layer.base_layer.requires_grad_(False)
        for path in layer.paths("default").values():
            path.to(adapter or dtype)
        x = torch.randn(tokens, 48).to(dtype).requires_grad_()
        upstream = torch.randn(tokens, 32).to(dtype)
        exact = copy.deepcopy(layer).double()
        wanted = results(exact, x.detach().double().requires_grad_(), upstream.double())
        for got, true in zip(results(layer, x, upstream), wanted, strict=True):
            assert (got.double() - true).norm() < 8 * torch.finfo(dtype).eps * true.norm(), (form, tokens, base)
