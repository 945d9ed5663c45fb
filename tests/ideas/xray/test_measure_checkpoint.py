"""A stranger's file: whatever is wrong with it is one ValueError that says what, and nothing in it is executed."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.measure import xray
from tests.adapters.small_models import Net

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CONFIGS = {
    "lora": peft.LoraConfig(r=4, target_modules=["encoder", "head"]),
    "glora": GloraConfig(r=2, target_modules=["encoder", "head"]),
    "gralora": GraloraConfig(r=4, target_modules=["encoder"]),
}
ENCODER = "base_model.model.encoder."


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Method → a folder with a small adapter of it."""
    folders = {}
    for name, config in CONFIGS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model = peft.get_peft_model(Net(), copy.deepcopy(config))
        for tensor in (p for p in model.parameters() if p.requires_grad):
            nn.init.normal_(tensor)
        model.save_pretrained(folders[name])
    return folders


@pytest.fixture
def folder(saved, tmp_path):
    """`folder(method, config changes, tensor changes)`: a copy that is damaged as asked; None takes away."""

    def damaged(method, config=None, tensors=None):
        shutil.copytree(saved[method], tmp_path, dirs_exist_ok=True)
        change(tmp_path / CONFIG, config or {})
        if tensors:
            found = load_file(tmp_path / WEIGHTS) | tensors
            save_file({name: t for name, t in found.items() if t is not None}, tmp_path / WEIGHTS)
        return tmp_path

    return damaged


def change(path, changes):
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


@pytest.mark.parametrize("method", CONFIGS)
def test_the_undamaged_folder_is_read(folder, method):
    assert xray(folder(method)).rows and xray(folder(method) / WEIGHTS) == xray(str(folder(method)) + "/" + WEIGHTS)


SETTINGS = [
    ("lora", {"peft_type": "LOHA"}, r"`peft_type` \(='LOHA'\) must be LORA, GLORA or GRALORA"),
    ("lora", {"peft_type": None}, r"`peft_type` \(=None\)"),
    ("lora", {"peft_type": ["LORA"]}, r"`peft_type` \(=\['LORA'\]\)"),
    ("lora", {"peft_type": "GRALORA", "alpha": 4}, r"'base_model.*lora_A.weight', and a GraLoRA has none of that name"),
    ("lora", {"use_dora": True}, r"`use_dora` \(=True\) .*xray\(model\)"),
    ("lora", {"use_qalora": True}, r"`use_qalora` \(=True\)"),
    ("lora", {"target_parameters": ["experts"]}, r"`target_parameters`"),
    ("lora", {"r": "4"}, r"`r` \(='4'\) must be an integer above 0"),
    ("lora", {"r": None}, r"`r` \(=None\) must be"),
    ("lora", {"r": 3}, r"layer 'encoder' has lora_A.weight of shape \(4, 6\), and it should be \(3, in\)"),
    ("lora", {"lora_alpha": None}, r"`lora_alpha` \(=None\) must be a finite number"),
    ("lora", {"use_rslora": "yes"}, r"`use_rslora` \(='yes'\) must be True or False"),
    ("lora", {"rank_pattern": {"encoder": 3}}, r"layer 'encoder' has lora_A.weight of shape \(4, 6\)"),
    ("lora", {"rank_pattern": {"(": 3}}, r"`rank_pattern key` \(='\('\) must be a regular expression"),
    ("lora", {"alpha_pattern": {"encoder": -1}}, r"`alpha_pattern\['encoder'\]` \(=-1\) must be"),
    ("lora", {"lora_alpha": 10**400}, "must be a finite number above 0"),
    ("lora", {"rank_pattern": {"(?i)encoder": 4}}, "must be a regular expression inside a larger one"),
    ("lora", {"lora_bias": True}, r"layer 'encoder' lacks lora_B.bias"),
    ("glora", {"r": 3}, r"layer 'encoder' has glora_A.Xd of shape \(8, 2\), and it should be \(8, 3\)"),
    ("glora", {"config_A_B": "vector"}, r"layer 'encoder' lacks glora_A.X, glora_B.X"),
    ("glora", {"config_A": "none"}, r"layer 'encoder' has glora_A.Xd, glora_A.Xu, which its configuration does not"),
    ("glora", {"config_C": "vektor"}, r"`config_C` \(='vektor'\) must be one of"),
    ("gralora", {"gralora_k": 4}, r"layer 'encoder' has k 4 and rank 4 for 6 → 8 features, which k does not divide"),
    ("gralora", {"gralora_k": 1}, r"layer 'encoder' has gralora_A of shape \(2, 3, 4\), and it should be \(1, 6, 4\)"),
    ("gralora", {"gralora_k": 0}, r"`gralora_k` \(=0\) must be an integer above 0"),
    ("gralora", {"hybrid_r": 2}, r"layer 'encoder' lacks gralora_A_general.weight, gralora_B_general.weight"),
    ("gralora", {"r": 8}, r"layer 'encoder' has gralora_A of shape \(2, 3, 4\), and it should be \(2, 3, 8\)"),
]


@pytest.mark.parametrize("method, changes, says", SETTINGS, ids=lambda value: str(value)[:40])
def test_a_configuration_that_does_not_fit(folder, method, changes, says):
    with pytest.raises(ValueError, match=rf"^`path` \(=.*{says}"):
        xray(folder(method, config=changes))


ones = torch.ones
TENSORS = [
    ("lora", {ENCODER + "lora_B.weight": None}, "layer 'encoder' lacks lora_B.weight"),
    ("lora", {ENCODER + "lora_B.weight": ones(8, 3)}, r"lora_B.weight of shape \(8, 3\), and it should be \(8, 4\)"),
    ("lora", {ENCODER + "lora_B.weight": ones(4)}, r"lora_B.weight of shape \(4,\), and it should be \(out, 4\)"),
    ("lora", {ENCODER + "lora_B.weight": ones(0, 4)}, r"lora_B.weight of shape \(0, 4\)"),
    ("lora", {ENCODER + "lora_A.weight": ones(4, 6, 1, 1)}, r"lora_A.weight of shape \(4, 6, 1, 1\)"),
    ("lora", {ENCODER + "lora_A.weight": ones(4, 6, dtype=torch.int64)}, "in I64, and weights are real numbers"),
    ("lora", {ENCODER + "lora_A.weight": torch.full((4, 6), torch.nan)}, "encoder' must hold finite numbers"),
    ("lora", {ENCODER + "lora_A.default.weight": ones(4, 6)}, "a tensor 'base_model.*default.weight', and a LoRA has"),
    ("lora", {ENCODER + "lora_magnitude_vector": ones(8)}, "has a magnitude, as in DoRA"),
    ("lora", {"encoder.lora_A.weight": ones(4, 6)}, "has two tensors for lora_A.weight of layer 'encoder'"),
    ("glora", {ENCODER + "glora_A.Xu": None}, "layer 'encoder' lacks glora_A.Xu"),
    ("glora", {ENCODER + "glora_A.Xu": ones(2, 7)}, r"of shape .*, and it should be \(2, [67]\)"),
    ("glora", {ENCODER + "glora_D.X": None}, "layer 'encoder' lacks glora_D.X"),
    ("glora", {ENCODER + "glora_F.Xu": ones(2, 7)}, "has a tensor 'base_model.model.encoder.glora_F.Xu'"),
    ("glora", {ENCODER + "glora_A.X": ones(8, 1)}, "has glora_A.X, which its configuration does not ask for"),
    ("gralora", {ENCODER + "gralora_A": None}, "layer 'encoder' lacks gralora_A"),
    ("gralora", {ENCODER + "gralora_A": ones(2, 4, 4), ENCODER + "gralora_B": ones(2, 3, 4)}, "gralora_B of shape"),
    ("gralora", {ENCODER + "gralora_A": ones(8, 3)}, "gralora_A of shape"),
]


@pytest.mark.parametrize("method, changes, says", TENSORS, ids=lambda value: str(value)[:60])
def test_tensors_that_do_not_fit(folder, method, changes, says):
    with pytest.raises(ValueError, match=says):
        xray(folder(method, tensors=changes))


def test_no_layers_at_all(folder):
    path = folder("lora")
    save_file({"head.weight": ones(3, 7)}, path / WEIGHTS)
    with pytest.raises(ValueError, match="must hold the LoRA that its configuration names, and holds none"):
        xray(path)


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path("exploded"), "boom")


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_a_pickle_is_never_opened(folder, name, monkeypatch):
    path = folder("lora")
    monkeypatch.chdir(path)
    (path / WEIGHTS).unlink()
    (path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is a pickle, and reading one runs" if "bin" in name else "whole safetensors"):
        xray(path)
    with pytest.raises(ValueError, match="is a pickle" if "bin" in name else "whole safetensors"):
        xray(path / name)
    assert not (path / "exploded").exists()


FILES = [
    (CONFIG, b"{", "in JSON, but"),
    (CONFIG, b"", "in JSON, but"),
    (CONFIG, b"\xff\xfe", "in JSON, but"),
    (CONFIG, b"[" * 100_000, "in JSON, but"),
    (CONFIG, b"[1]", "with settings by name, not a list"),
    (CONFIG, None, "must hold an adapter_config.json"),
    (WEIGHTS, b"", "cut off, damaged or foreign"),
    (WEIGHTS, b"\xff" * 64, "cut off, damaged or foreign"),
    (WEIGHTS, b"PK\x03\x04 a zip file", "cut off, damaged or foreign"),
    (WEIGHTS, None, "must hold adapter_model.safetensors"),
]


@pytest.mark.parametrize("name, content, says", FILES, ids=lambda value: str(value)[:30])
def test_files_that_are_no_adapter(folder, name, content, says):
    path = folder("lora")
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^`path` \(=.*{says}"):
        xray(path)


@settings(max_examples=100)
@given(st.data())
def test_damaged_bytes_are_an_error_or_numbers(saved, tmp_path_factory, data):
    method = data.draw(st.sampled_from(list(CONFIGS)))
    path = tmp_path_factory.mktemp("damaged")
    shutil.copytree(saved[method], path, dirs_exist_ok=True)
    name = data.draw(st.sampled_from([CONFIG, WEIGHTS]))
    content = bytearray((path / name).read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        content = content[:cut]
    else:
        content[cut : cut + 1] = data.draw(st.binary(min_size=0, max_size=4))
    (path / name).write_bytes(bytes(content))
    try:
        report = xray(path)
    except ValueError as error:
        assert str(error).startswith("`")  # a name, its value and the rule, not the first failure met
        return
    assert report.rows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["encoder", "", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=150)
@given(st.data())
def test_any_setting_is_an_error_or_numbers(saved, tmp_path_factory, data):
    method = data.draw(st.sampled_from(list(CONFIGS)))
    path = tmp_path_factory.mktemp("settings")
    shutil.copytree(saved[method], path, dirs_exist_ok=True)
    name = data.draw(st.sampled_from(sorted(json.loads((path / CONFIG).read_text()))))
    change(path / CONFIG, {name: data.draw(JSON)})
    try:
        assert xray(path).rows
    except ValueError as error:
        assert str(error).startswith("`path` (=")


def test_numbers_that_overflow(folder):
    with pytest.raises(ValueError, match=r"ΔW of layer 'encoder' must be finite; scaled by 2.5e\+306 it overflows"):
        xray(folder("lora", {"lora_alpha": 1e307}, {ENCODER + "lora_A.weight": torch.full((4, 6), 1e3)}))


def test_a_layer_with_a_number_for_a_name_that_no_integer_reads(folder):
    name = "9" * 5000
    tensors = {
        f"base_model.model.{name}.lora_A.weight": ones(4, 3),
        f"base_model.model.{name}.lora_B.weight": ones(3, 4),
    }
    assert xray(folder("lora", tensors=tensors)).row(name).norm == pytest.approx(12 * 2)


def test_files_that_were_not_saved_together(folder, tmp_path_factory):
    path, other = folder("glora"), tmp_path_factory.mktemp("other")
    peft.get_peft_model(Net(), copy.deepcopy(CONFIGS["glora"])).save_pretrained(other)
    shutil.copyfile(other / WEIGHTS, path / WEIGHTS)
    with pytest.raises(ValueError, match=r"^`path` \(=.*two moments of one"):
        xray(path)


def test_a_folder_that_is_not_there_or_one_too_high(folder, tmp_path):
    with pytest.raises(ValueError, match=r"`path` \(='nowhere'\) must be a folder on this machine"):
        xray("nowhere")
    path = folder("lora") / "deeper"
    shutil.copytree(path.parent, path, ignore=shutil.ignore_patterns("deeper"))
    (path.parent / CONFIG).unlink()
    with pytest.raises(ValueError, match=r"must hold an adapter_config.json; there is one in deeper"):
        xray(path.parent)


def test_the_base_model_must_fit(folder):
    other = Net()
    other.encoder = nn.Linear(6, 9)
    with pytest.raises(ValueError, match=r"layer 'encoder' has .* of shape \(8, 2\), and it should be \(9, 2\)"):
        xray(folder("glora"), other)
    with pytest.raises(ValueError, match=r"`base_model`, which has no layer 'encoder'"):
        xray(folder("glora"), nn.Linear(6, 8))
    other.encoder = nn.Conv2d(6, 8, 1)
    with pytest.raises(ValueError, match=r"`base_model`, where layer 'encoder' is a Conv2d"):
        xray(folder("glora"), other)
    with pytest.raises(ValueError, match=r"layer 'encoder' has glora_C.* which its configuration does not ask for"):
        xray(folder("glora"), Net(bias=False))
    other.encoder = nn.Linear(6, 10)
    with pytest.raises(ValueError, match=r"layer 'encoder' is for 8 outputs, and in `base_model` it has 10"):
        xray(folder("gralora"), other)


def test_what_a_reader_has_to_know_is_noted(folder):
    report = xray(folder("lora", {"init_lora_weights": "pissa_niter_4", "alora_invocation_tokens": [1], "novel": 2}))
    assert len(report.notes) == 3 and "novel" in report.notes[0] and "'pissa_niter_4'" in report.notes[1]
