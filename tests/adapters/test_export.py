"""Adapters that leave for plain PEFT: its own layers compute the same, or the reason is said and nothing written."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from peft.utils import load_peft_weights
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig, export_peft
from glora_lab.adapters.view import delta_matrix
from glora_lab.records import ExportReport

from .block_models import BlockNet
from .small_models import INERT, bits, expecting, gpt2, largest_difference, llama, same_bits, saveable

X = torch.randn(5, 24, generator=torch.Generator().manual_seed(3))
IDS = torch.arange(6)[None]
TARGETS = ["encoder", "decoder"]


def trained(model: nn.Module) -> PeftModel:
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def adapted(net: nn.Module, cls: type, **asked: Any) -> PeftModel:
    return trained(peft.get_peft_model(net, cls(**{"r": 4, "target_modules": TARGETS, **asked})))


def in_plain_peft(net: nn.Module, folder, kind: type) -> PeftModel:
    """PEFT's own layers; any warning, of missing tensors too, fails the test."""
    loaded = PeftModel.from_pretrained(net, folder)
    assert type(loaded.base_model) is kind and type(loaded.base_model).__module__.startswith("peft.")
    return loaded


SAME = {
    "the defaults": {},
    "vectors": {"config_A_B": "vector", "config_C": "vector", "config_D_E": "vector"},
    "constants": {"config_A_B": "constant", "config_C": "none", "config_D_E": "constant"},
    "C alone": {"config_A_B": "none", "config_D_E": "none"},
    "each path by itself": {"config_A": "vector", "config_B": "vector", "config_D": "none", "config_E": "none"},
    "an alpha that scales by 1": {"alpha": 4},
    "a product that is a number": {"A_form": "product", "config_A_B": "constant"},
    "a head": {"modules_to_save": ["head"]},
    "its biases": {"bias": "glora_only"},
    "all biases": {"bias": "all"},
    "one left out": {"exclude_modules": ["decoder"]},
    "one switched off": {"path_pattern": {"decoder": dict.fromkeys("ABCDE", "none")}},
    "one rank for all": {"rank_pattern": {"encoder": 3, "decoder": 3}},
}


@pytest.mark.parametrize("name", saveable(SAME))
def test_stock_glora_computes_the_same(tmp_path, name):
    net = BlockNet()
    model = adapted(copy.deepcopy(net), GloraConfig, **SAME[name])
    before = bits(model)
    report = export_peft(model, tmp_path)
    plain = in_plain_peft(copy.deepcopy(net), tmp_path, peft.tuners.glora.GloraModel)
    assert largest_difference(plain(X), model(X)) < 1e-5 < largest_difference(plain(X), net(X))
    assert same_bits(model, before) and model.peft_config["default"].peft_type == "GLORA_LAB"
    assert isinstance(report, ExportReport) and report.error == 0 and all(row.rank is None for row in report.rows)


def test_the_file_is_the_one_that_stock_peft_writes(tmp_path):
    net = BlockNet()
    asked = {"config_A_B": "none", "config_D_E": "none", "modules_to_save": ["head"]}
    export_peft(adapted(copy.deepcopy(net), GloraConfig, **asked), tmp_path / "ours")
    plain = in_plain_peft(copy.deepcopy(net), tmp_path / "ours", peft.tuners.glora.GloraModel)
    plain.save_pretrained(tmp_path / "theirs")
    ours, theirs = (load_peft_weights(str(tmp_path / name), "cpu") for name in ("ours", "theirs"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


GRALORA = {
    "the defaults": {},
    "a hybrid": {"hybrid_r": 3, "alpha": 5},
    "rslora": {"use_rslora": True, "hybrid_r": 2},
    "one k for all": {"k_pattern": {"encoder": 4, "decoder": 4}},
    "one left out": {"exclude_modules": ["decoder"], "gralora_dropout": 0.1},
    "one that k does not divide": {"target_modules": [*TARGETS, "head"], "on_indivisible": "skip"},
    "a head": {"modules_to_save": ["head"], "bias": "gralora_only"},
}
SKIPS = "Indivisible layers"


@pytest.mark.parametrize("name", saveable(GRALORA))
def test_stock_gralora_computes_the_same(tmp_path, name):
    net = BlockNet()
    with expecting(SKIPS):
        model = adapted(copy.deepcopy(net), GraloraConfig, **GRALORA[name])
    export_peft(model, tmp_path)
    plain = in_plain_peft(copy.deepcopy(net), tmp_path, peft.tuners.gralora.GraloraModel)
    assert largest_difference(plain(X), model(X)) < 1e-5 < largest_difference(plain(X), net(X))


REFUSED = {
    "modes of their own": ({"config_A": "none", "config_E": "vector"}, ["`config_A` (='none')", "`config_E`"]),
    "product form": ({"A_form": "product"}, ["`A_form` (='product')"]),
    "alpha": ({"alpha": 16, "use_rslora": True}, ["`alpha` (=16)", "`use_rslora` (=True)"]),
    "patterns": (
        {
            "rank_pattern": {"encoder": 2},
            "alpha": 4,
            "alpha_pattern": {"decoder": 9},
            "path_pattern": {"decoder": {"A": "vector"}},
        },
        ["`rank_pattern`", "`alpha_pattern`", "`path_pattern`"],
    ),
    "dropout": ({"glora_dropout": 0.2}, ["`glora_dropout` (=0.2)"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_setting_that_stock_glora_lacks_is_listed(tmp_path, name):
    asked, words = REFUSED[name]
    model = adapted(BlockNet(), GloraConfig, **asked)
    with pytest.raises(ValueError, match="cannot express") as caught:
        export_peft(model, tmp_path / "new")
    assert all(word in str(caught.value) for word in words) and not (tmp_path / "new").exists()


def test_bias_free_terms_are_refused(tmp_path):
    with expecting(INERT):
        model = adapted(BlockNet(bias=False), GloraConfig, bias_free="add")
    with pytest.raises(ValueError, match=r"`bias_free` .=.add.."):
        export_peft(model, tmp_path / "new")


def test_stock_gralora_has_no_patterns(tmp_path):
    asked = {"rank_pattern": {"encoder": 8}, "k_pattern": {"encoder": 4}, "alpha_pattern": {"decoder": 9}}
    with pytest.raises(ValueError, match=r"rank_pattern.*\n.*k_pattern.*\n.*alpha_pattern"):
        export_peft(adapted(BlockNet(), GraloraConfig, **asked), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_conv1d_goes_to_stock_gralora_and_not_to_stock_glora(tmp_path):
    base = gpt2()
    model = trained(peft.get_peft_model(copy.deepcopy(base), GraloraConfig(r=4)))
    export_peft(model, tmp_path)
    plain = in_plain_peft(copy.deepcopy(base), tmp_path, peft.tuners.gralora.GraloraModel)
    assert largest_difference(plain(IDS).logits, model(IDS).logits) < 1e-4
    with pytest.raises(ValueError, match="Conv1D"):
        export_peft(trained(peft.get_peft_model(copy.deepcopy(base), GloraConfig())), tmp_path)


def test_a_bias_free_transformer(tmp_path):
    base = llama()
    with expecting(INERT):
        model = trained(peft.get_peft_model(copy.deepcopy(base), GloraConfig(r=2, layers_to_transform=[1])))
    export_peft(model, tmp_path)
    plain = in_plain_peft(copy.deepcopy(base), tmp_path, peft.tuners.glora.GloraModel)
    assert largest_difference(plain(IDS).logits, model(IDS).logits) < 1e-4


class Endings(nn.Module):
    """A layer whose name is the end of another's."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(6, 6)
        self.inner = nn.ModuleDict({"q": nn.Linear(6, 6)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner["q"](self.q(x))


@pytest.mark.parametrize("form", ["peft", "lora"])
def test_a_name_that_ends_another(tmp_path, form):
    net, x = Endings(), torch.randn(3, 6)
    model = adapted(copy.deepcopy(net), GloraConfig, target_modules=["q"], exclude_modules=["inner.q"])
    export_peft(model, tmp_path, format=form)
    plain = PeftModel.from_pretrained(copy.deepcopy(net), tmp_path)
    assert type(plain.base_model.model.inner["q"]) is nn.Linear
    assert largest_difference(plain(x), model(x)) < 1e-4


def test_ranks_of_a_name_that_ends_another(tmp_path):
    net, x = Endings(), torch.randn(3, 6)
    asked = GloraConfig.only(B="lora", r=4, target_modules=["q"], rank_pattern={"^q": 2}, alpha=3)
    model = trained(peft.get_peft_model(copy.deepcopy(net), asked))
    report = export_peft(model, tmp_path, format="lora")
    plain = PeftModel.from_pretrained(copy.deepcopy(net), tmp_path)
    assert {row.layer: row.rank for row in report.rows} == {"q": 2, "inner.q": 4}
    assert largest_difference(plain(x), model(x)) < 1e-5


EXACT = {
    "B": (GloraConfig, {"config_A": "none", "config_C": "none", "config_D_E": "none", "alpha": 6}, 4),
    "B and the bias": (GloraConfig, {"config_A": "none", "config_D_E": "vector"}, 4),
    "B scaled, and the bias": (GloraConfig, {"config_A": "none", "config_D_E": "vector", "alpha": 6}, 4),
    "B vector": (GloraConfig, {"config_A": "none", "config_B": "vector"}, 1),
    "B constant": (GloraConfig, {"config_A": "none", "config_B": "constant"}, 1),
    "the bias alone": (GloraConfig, {"config_A_B": "none"}, 1),
    "product form": (GloraConfig, {"A_form": "product", "alpha": 2}, 8),
    "product form and a vector": (GloraConfig, {"A_form": "product", "config_B": "vector"}, 5),
    "blocks": (GraloraConfig, {"gralora_k": 2}, 8),
    "blocks, k 4": (GraloraConfig, {"gralora_k": 4, "use_rslora": True}, 16),
    "k 1": (GraloraConfig, {"gralora_k": 1}, 4),
    "a hybrid": (GraloraConfig, {"gralora_k": 2, "hybrid_r": 3, "alpha": 7}, 11),
    "biases and a head": (GraloraConfig, {"bias": "gralora_only", "modules_to_save": ["head"]}, 8),
}


@pytest.mark.parametrize("name", saveable(EXACT))
def test_a_low_rank_becomes_a_lora_exactly(tmp_path, name):
    cls, asked, rank = EXACT[name]
    net = BlockNet()
    model = adapted(copy.deepcopy(net), cls, **asked)
    report = export_peft(model, tmp_path, format="lora")
    plain = in_plain_peft(copy.deepcopy(net), tmp_path, peft.LoraModel)
    assert {row.rank for row in report.rows} == {rank} and report.error < 1e-7
    assert largest_difference(plain(X), model(X)) < 1e-5 < largest_difference(plain(X), net(X))
    merged = plain.merge_and_unload()
    assert largest_difference(merged(X), model(X)) < 1e-5


def test_factors_are_copied(tmp_path):
    model = adapted(BlockNet(), GloraConfig, config_A="none", config_C="none", config_D_E="none", alpha=6)
    export_peft(model, tmp_path, format="lora")
    saved = load_peft_weights(str(tmp_path), "cpu")
    path = model.base_model.model.encoder.glora_B["default"]
    assert torch.equal(saved["base_model.model.encoder.lora_A.weight"], path.Xu)
    assert torch.equal(saved["base_model.model.encoder.lora_B.weight"], path.Xd)


FULL = {
    "A lora": {},
    "A vector": {"config_A_B": "vector"},
    "product vector": {"config_A": "vector", "A_form": "product"},
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_rank_keeps_all_of_it_unless_told(tmp_path, name):
    net = BlockNet()
    model = adapted(copy.deepcopy(net), GloraConfig, **FULL[name])
    report = export_peft(model, tmp_path, format="lora")
    plain = in_plain_peft(copy.deepcopy(net), tmp_path, peft.LoraModel)
    assert {row.rank for row in report.rows} == {24} and report.error < 1e-6
    assert largest_difference(plain(X), model(X)) < 1e-4


@pytest.mark.parametrize("cls", [GloraConfig, GraloraConfig])
def test_the_truncation_is_the_best_and_its_error_reported(tmp_path, cls):
    model = adapted(BlockNet(), cls)
    report = export_peft(model, tmp_path, format="lora", r=3)
    deltas = {row.layer: delta_matrix(getattr(model.base_model.model, row.layer)) for row in report.rows}
    plain = in_plain_peft(model.unload(), tmp_path, peft.LoraModel)
    for row in report.rows:
        delta = deltas[row.layer]
        left = delta - delta_matrix(getattr(plain.base_model.model, row.layer))
        values = torch.linalg.svdvals(delta)
        assert row.rank == 3 and row.error == pytest.approx((left.norm() / delta.norm()).item(), rel=1e-4)
        assert row.error == pytest.approx((values[3:].norm() / values.norm()).item(), rel=1e-4)  # Eckart–Young
    assert report.error == max(row.error for row in report.rows)


def test_bad_arguments(tmp_path):
    model = adapted(BlockNet(), GloraConfig)
    for asked, word in (({"format": "gguf"}, "`format`"), ({"r": 3}, "`r`"), ({"format": "lora", "r": 0}, "`r`")):
        with pytest.raises(ValueError, match=word):
            export_peft(model, tmp_path / "new", **asked)
    with pytest.raises(ValueError, match=r"`adapter_name`.*default"):
        export_peft(model, tmp_path / "new", "second")
    lora = peft.get_peft_model(BlockNet(), peft.LoraConfig(target_modules=["encoder"]))
    with pytest.raises(ValueError, match="no adapter of this library"):
        export_peft(lora, tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`path`"):
        export_peft(model, tmp_path / "file")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", ["peft", "lora"])
def test_one_of_several_and_merged(tmp_path, form):
    net = BlockNet()
    model = adapted(copy.deepcopy(net), GloraConfig)
    model.add_adapter("second", GloraConfig(r=2, target_modules=TARGETS, init_weights=False))
    model.set_adapter("second")
    expected = model(X)
    model.merge_adapter(["second", "default"])
    export_peft(model, tmp_path, "second", format=form)
    assert largest_difference(PeftModel.from_pretrained(copy.deepcopy(net), tmp_path)(X), expected) < 1e-4


def test_an_injected_model_is_exported_too(tmp_path):
    net = BlockNet()
    config = GloraConfig(r=2, target_modules=TARGETS, init_weights=False)
    model = peft.inject_adapter_in_model(config, copy.deepcopy(net)).eval()
    model.peft_config = {"default": config}
    export_peft(model, tmp_path)
    plain = in_plain_peft(copy.deepcopy(net), tmp_path, peft.tuners.glora.GloraModel)
    assert largest_difference(plain(X), model(X)) < 1e-5


ALONE = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "glora_lab":
            raise ImportError("glora_lab is not here")
sys.meta_path.insert(0, Blocked())
import warnings, torch, peft
warnings.simplefilter("error")
for folder in sys.argv[1:]:
    net, x, expected = torch.load(folder + "/net.pt", weights_only=False)
    loaded = peft.PeftModel.from_pretrained(net, folder)
    print(type(loaded.base_model).__name__, (loaded(x) - expected).abs().max().item() < 1e-5)
assert "glora_lab" not in sys.modules
"""
EXPORTS = [(GloraConfig, "peft"), (GraloraConfig, "peft"), (GraloraConfig, "lora")]


def test_in_a_process_without_this_library(tmp_path):
    folders = [tmp_path / f"{cls.__name__}-{form}" for cls, form in EXPORTS]
    for folder, (cls, form) in zip(folders, EXPORTS, strict=True):
        net = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 8))
        model = adapted(copy.deepcopy(net), cls, target_modules=["0", "2"])
        export_peft(model, folder, format=form)
        torch.save((net, X, model(X).detach()), folder / "net.pt")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, folders)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["GloraModel True", "GraloraModel True", "LoraModel True"]


modes = st.sampled_from(["lora", "vector", "constant", "none"])
GLORA = st.fixed_dictionaries(
    {"config_A_B": modes, "config_C": st.sampled_from(["lora", "vector", "none"]), "r": st.sampled_from([2, 4])},
    optional={
        "config_D_E": st.sampled_from(["vector", "constant", "none"]),
        "config_A": modes,
        "config_E": st.sampled_from(["vector", "none"]),
        "A_form": st.sampled_from(["elementwise", "product"]),
        "alpha": st.sampled_from([2, 4, 5]),
        "rank_pattern": st.sampled_from([{}, {"encoder": 4}]),
        "path_pattern": st.sampled_from([{}, {"decoder": {"B": "vector"}}]),
        "exclude_modules": st.sampled_from([None, ["decoder"]]),
        "bias_free": st.sampled_from(["drop", "add"]),
        **saveable({"biases": {"bias": st.sampled_from(["none", "glora_only", "all"])}}).get("biases", {}),
        "glora_dropout": st.sampled_from([0.0, 0.1]),
    },
)
BLOCKS = st.fixed_dictionaries(
    {"r": st.sampled_from([4, 8]), "gralora_k": st.sampled_from([1, 2, 4]), "hybrid_r": st.sampled_from([0, 3])},
    optional={
        "use_rslora": st.booleans(),
        "alpha": st.sampled_from([3, 7.5, 64]),
        "rank_pattern": st.sampled_from([{}, {"encoder": 8}]),
        "k_pattern": st.sampled_from([{}, {"encoder": 2}]),
        "alpha_pattern": st.sampled_from([{}, {"decoder": 7}]),
        **saveable({"biases": {"bias": st.sampled_from(["none", "gralora_only", "all"])}}).get("biases", {}),
        "exclude_modules": st.sampled_from([None, ["encoder"]]),
    },
)


@settings(max_examples=120)
@given(
    st.one_of(st.tuples(st.just(GloraConfig), GLORA), st.tuples(st.just(GraloraConfig), BLOCKS)),
    st.booleans(),
    st.sampled_from(["peft", "lora"]),
)
def test_any_configuration_is_exported_with_equal_outputs_or_names_what_is_in_the_way(
    tmp_path_factory, drawn, bias, form
):
    cls, asked = drawn
    net, folder = BlockNet(bias=bias), tmp_path_factory.mktemp("export") / "adapter"
    with expecting(INERT, "The following .* keys did not match"):
        try:
            model = adapted(copy.deepcopy(net), cls, **asked)
        except ValueError:
            return  # nothing to train
        try:
            export_peft(model, folder, format=form)
        except ValueError as error:
            assert form == "peft" and not folder.exists()
            assert any(f"`{name}` (={getattr(model.peft_config['default'], name)!r})" in str(error) for name in asked)
            return
    with expecting("`lora_bias=True` was passed"):  # bias_free="add": works in LoRA, except for merging
        plain = PeftModel.from_pretrained(copy.deepcopy(net), folder)
    assert type(plain.base_model).__module__.startswith("peft.")
    size = model(X).abs().max().item()
    assert largest_difference(plain(X), model(X)) < 1e-4 * max(size, 1.0)
