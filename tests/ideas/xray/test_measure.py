"""xray: what is on disk is what is in memory, for every kind of adapter, and a folder's words are checked."""

from __future__ import annotations

import copy
import math

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import adapted_layers, delta_matrix
from glora_lab.measure import block_grid, path_picture, xray
from tests.adapters.small_models import INERT, Net, expecting, gpt2, llama

WEIGHTS = "adapter_model.safetensors"
BIASES_LOOK_CUT_OFF = "Adapter 'default': 2 LoRA tensor"  # PEFT's own save, for lora_bias
TARGETS = ["encoder", "decoder"]
DISK = {
    "LoRA": peft.LoraConfig(r=3, lora_alpha=5),
    "rsLoRA": peft.LoraConfig(r=3, lora_alpha=5, use_rslora=True),
    "LoRA by patterns": peft.LoraConfig(r=3, rank_pattern={"encoder": 2}, alpha_pattern={"decoder": 9}),
    "LoRA with biases": peft.LoraConfig(r=3, lora_bias=True),
    "stock GLoRA": peft.GloraConfig(r=2),
    "stock GLoRA vectors": peft.GloraConfig(r=2, config_A_B="vector", config_C="vector", config_D_E="vector"),
    "stock GLoRA constants": peft.GloraConfig(r=2, config_A_B="constant", config_C="none"),
    "stock GLoRA without A and B": peft.GloraConfig(r=2, config_A_B="none"),
    "GLoRA": GloraConfig(r=2, alpha=3),
    "GLoRA product form": GloraConfig(r=2, alpha=3, use_rslora=True, A_form="product"),
    "GLoRA vectors, product form": GloraConfig(config_A_B="vector", config_D_E="vector", A_form="product"),
    "GLoRA by patterns": GloraConfig(r=2, rank_pattern={"encoder": 3}, path_pattern={"decoder": {"A": "none"}}),
    "stock GraLoRA": peft.GraloraConfig(r=4, gralora_k=2, alpha=6),
    "stock hybrid": peft.GraloraConfig(r=4, gralora_k=2, hybrid_r=2),
    "GraLoRA": GraloraConfig(r=4, gralora_k=2, use_rslora=True),
    "GraLoRA by patterns": GraloraConfig(r=4, k_pattern={"encoder": 1}, alpha_pattern={"decoder": 3}, hybrid_r=1),
}


def net() -> nn.Module:
    class Even(Net):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Linear(6, 8), nn.Linear(8, 10)

    torch.manual_seed(1)
    return Even()


def trained(base: nn.Module, config: peft.PeftConfig, targets: object = TARGETS) -> nn.Module:
    config = copy.deepcopy(config)
    config.target_modules = targets
    model = peft.get_peft_model(copy.deepcopy(base), config).eval()
    for name, parameter in model.named_parameters():
        if any(prefix in name for prefix in ("lora_", "glora_", "gralora_")):
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("name", DISK)
def test_the_folder_gives_what_the_model_gives(tmp_path, name):
    base = net()
    model = trained(base, DISK[name])
    with expecting(BIASES_LOOK_CUT_OFF):
        model.save_pretrained(tmp_path)
    memory, disk = xray(model), xray(tmp_path, base)
    assert memory.method == disk.method and name.split()[0].removeprefix("stock").strip() in ("", "rsLoRA", disk.method)
    assert {row.layer for row in memory.rows} == {row.layer for row in disk.rows} == set(TARGETS)
    assert disk.unknown_paths() == []
    for row in memory.rows:
        other = disk.row(row.layer)
        assert (other.shape, other.r, other.params) == (row.shape, row.r, row.params)
        assert other.parts == pytest.approx(row.parts, rel=1e-6) and other.norm == pytest.approx(row.norm, rel=1e-6)
        np.testing.assert_allclose(other.spectrum.singular_values, row.spectrum.singular_values, rtol=1e-6)
        delta = delta_matrix(adapted_layers(model)[row.layer]).detach()
        assert row.norm == pytest.approx(delta.norm().item(), rel=1e-9)
        assert row.shape == tuple(delta.shape)
        layer = adapted_layers(model)[row.layer]
        counted = sum(p.numel() for c in layer.adapter_layer_names for p in parameters(getattr(layer, c)))
        assert row.params == counted


def parameters(container):
    return [p for item in container.values() for p in ([item] if isinstance(item, nn.Parameter) else item.parameters())]


@pytest.mark.parametrize("config", [GloraConfig(r=2, alpha=3), GloraConfig(r=2, A_form="product", config_D_E="vector")])
def test_paths_are_those_of_the_layer(config):
    model = trained(net(), config)
    for row in xray(model).rows:
        picture = path_picture(model, row.layer)
        terms = {"A": picture.w0a, "B": picture.b, "C": picture.w0c, "D": picture.b0d, "E": picture.e}
        assert row.parts == pytest.approx({path: np.linalg.norm(term) for path, term in terms.items()}, rel=1e-6)
        assert row.share("A") == pytest.approx(row.parts["A"] ** 2 / (row.parts["A"] ** 2 + row.parts["B"] ** 2))
        assert sum(row.share(path) for path in "CDE") == pytest.approx(1)


@pytest.mark.parametrize("config", [GraloraConfig, peft.GraloraConfig])
def test_blocks_are_those_of_the_grid(config):
    model = trained(net(), config(r=4, gralora_k=2, hybrid_r=1))
    report = xray(model)
    assert report.part_names() == ["0,0", "0,1", "1,0", "1,1"]
    for row in report.rows:
        grid = block_grid(model, row.layer)
        np.testing.assert_allclose(row.block_norms, grid.norms, rtol=1e-9)
        assert row.share("0,1") == pytest.approx(grid.energy[0, 1])


def test_without_the_base_what_multiplies_it_is_unknown(tmp_path):
    base = net()
    trained(base, GloraConfig(r=2)).save_pretrained(tmp_path)
    alone, whole = xray(tmp_path), xray(tmp_path, base)
    assert alone.unknown_paths() == ["A", "C", "D"] and whole.unknown_paths() == []
    for row in alone.rows:
        known = whole.row(row.layer)
        assert row.unknown == ("A", "C", "D") and all(math.isnan(row.parts[path]) for path in "ACD")
        assert row.norm == row.parts["B"] == pytest.approx(known.parts["B"]) != pytest.approx(known.norm)
        assert row.parts["E"] == pytest.approx(known.parts["E"]) and math.isnan(row.share("A"))


def test_nothing_known_is_no_number(tmp_path):
    trained(net(), GloraConfig.only(A="vector")).save_pretrained(tmp_path)
    report = xray(tmp_path)
    assert all(math.isnan(row.norm) and row.spectrum is None and row.unknown == ("A",) for row in report.rows)
    assert report.strongest() == [] and report.norm == 0


def test_a_path_that_is_zero_needs_no_base(tmp_path):
    model = peft.get_peft_model(net(), GloraConfig(r=2, target_modules=TARGETS))
    model.save_pretrained(tmp_path)
    report = xray(tmp_path)
    assert report.unknown_paths() == [] and all(set(row.parts.values()) == {0.0} for row in report.rows)


def test_what_is_trained_whole_is_named(tmp_path):
    config = peft.LoraConfig(r=2, modules_to_save=["head"], bias="all")
    model = trained(net(), config)
    model.save_pretrained(tmp_path)
    others = xray(model).others
    assert [name.rpartition(".modules_to_save.")[2] for name in others] == ["default.weight", "default.bias"]
    others = xray(tmp_path).others
    assert "base_model.model.head.weight" in others and any(name.endswith("encoder.base_layer.bias") for name in others)


def test_layers_come_in_the_models_order_and_place(tmp_path):
    base = llama()
    with expecting(INERT):
        trained(base, peft.LoraConfig(r=2), ["q_proj", "up_proj"]).save_pretrained(tmp_path)
    report = xray(tmp_path)
    assert report.cell(report.rows[0].layer) == ("model.layers.0", "mlp.up_proj") and report.stem() == "model.layers."
    assert [report.cell(row.layer)[0][-1] for row in report.rows] == ["0", "0", "1", "1"]
    norms = [row.norm for row in report.strongest(3)]
    assert norms == sorted((row.norm for row in report.rows), reverse=True)[:3]


def test_conv1d_and_embeddings(tmp_path):
    base = gpt2()
    config = peft.LoraConfig(r=2, fan_in_fan_out=True)
    model = trained(base, config, ["c_attn", "wte"])
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    report = xray(tmp_path, base)
    assert report.row("transformer.wte").shape == (32, 64) and report.row("transformer.h.1.attn.c_attn").shape == (
        96,
        32,
    )
    assert [row.norm for row in report.strongest()] == pytest.approx([row.norm for row in xray(model).strongest()])


def test_an_adapter_is_chosen_by_name_and_others_are_refused():
    model = trained(net(), GraloraConfig(r=4))
    model.add_adapter("second", GraloraConfig(r=2, target_modules=["encoder"], init_weights=False))
    assert [row.layer for row in xray(model, adapter_name="second").rows] == ["encoder"]
    assert xray(model) == xray(model, adapter_name="default") and len(xray(model).rows) == 2
    with pytest.raises(
        ValueError, match=r"`adapter_name` \(='third'\) is not on this model; there are: default, second"
    ):
        xray(model, adapter_name="third")
    with pytest.raises(ValueError, match="must be a model that carries an adapter"):
        xray(net())
    with pytest.raises(ValueError, match="`base_model` must be left out"):
        xray(model, net())
    with pytest.raises(ValueError, match=r"`adapter_name`.*left out for a folder"):
        xray("somewhere", adapter_name="default")
    with pytest.raises(ValueError, match=r"`path_or_model` \(=3\) must be"):
        xray(3)


def test_dora_in_memory_is_said():
    model = peft.get_peft_model(net(), peft.LoraConfig(r=2, use_dora=True, target_modules=["encoder"]))
    adapted_layers(model)["encoder"].lora_magnitude_vector["default"].weight.data *= 2
    report = xray(model)
    assert report.method == "LoRA" and "1 layer" in report.notes[0]
    assert report.rows[0].norm == pytest.approx(delta_matrix(adapted_layers(model)["encoder"]).norm().item())


def test_a_tensor_is_read_as_its_layer_comes(tmp_path, monkeypatch):
    """Half precision from disk becomes float64 one layer at a time, and reading `.zeros` is left out."""
    trained(net(), peft.GloraConfig(config_A_B="none")).save_pretrained(tmp_path)
    tensors = {name: t.bfloat16() for name, t in load_file(tmp_path / WEIGHTS).items()}
    assert any(name.endswith("glora_A.zeros") for name in tensors)
    save_file(tensors, tmp_path / WEIGHTS)
    report = xray(tmp_path)
    assert report.rows[0].shape == (10, 8) and "A" not in report.rows[0].parts
    expected = tensors["base_model.model.decoder.glora_E.X"].double().item() * math.sqrt(10)
    assert report.row("decoder").parts["E"] == pytest.approx(abs(expected), rel=1e-12)
