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

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
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
    ("lora", {"r": 3}, r"encoder.lora_A.weight is \[4, 6\] and must be \[3, in\]"),
    ("lora", {"lora_alpha": None}, r"`lora_alpha` \(=None\) must be a finite number"),
    ("lora", {"use_rslora": "yes"}, r"`use_rslora` \(='yes'\) must be True or False"),
    ("lora", {"rank_pattern": {"encoder": 3}}, r"encoder.lora_A.weight is \[4, 6\] and must be \[3, in\], enc"),
    ("lora", {"rank_pattern": {"(": 3}}, r"`rank_pattern key` \(='\('\) must be a regular expression"),
    ("lora", {"alpha_pattern": {"encoder": -1}}, r"`alpha_pattern\['encoder'\]` \(=-1\) must be"),
    ("lora", {"lora_alpha": 10**400}, "must be a finite number above 0"),
    ("lora", {"rank_pattern": {"(?i)encoder": 4}}, "must be a regular expression inside a larger one"),
    ("lora", {"lora_bias": True}, r"missing: encoder.lora_B.bias"),
    ("glora", {"r": 3}, r"encoder.glora_A.Xd is \[8, 2\] and must be \[(out|8), 3\]"),
    ("glora", {"config_A_B": "vector"}, r"missing: encoder.glora_A.X, encoder.glora_B.X"),
    ("glora", {"config_A": "none"}, r"another model or adapter: encoder.glora_A.Xd, encoder.glora_A.Xu"),
    ("glora", {"config_C": "vektor"}, r"`config_C` \(='vektor'\) must be one of"),
    ("gralora", {"gralora_k": 4}, r"(is \[2, 3, 4\] and must be \[4, in/4, 4\]|`gralora_k` \(=4\) must divide)"),
    ("gralora", {"gralora_k": 1}, r"encoder.gralora_A is \[2, 3, 4\] and must be \[1, (in|6), 4\]"),
    ("gralora", {"gralora_k": 0}, r"`gralora_k` \(=0\) must be an integer above 0|gralora_k. should be a positive"),
    ("gralora", {"k_pattern": {"encoder": 3}}, r"got [48] and 3: .* must divide the features and the rank"),
    ("gralora", {"hybrid_r": 2}, r"missing: encoder.gralora_A_general.weight, encoder.gralora_B_general.weight"),
    ("gralora", {"r": 8}, r"encoder.gralora_A is \[2, 3, 4\] and must be \[2, (in/2|3), 8\]"),
]


def refused_at_both_doors(path, method, says):
    """One set of rules: what X-ray refuses of our methods, loading refuses in the same words."""
    with pytest.raises(ValueError, match=rf"^`path_or_model` \(=.*({says})"):
        xray(path)
    if method != "lora":  # PEFT loads its own
        with pytest.raises(ValueError, match=says):
            load_adapter(Net(), path)


@pytest.mark.parametrize("method, changes, says", SETTINGS, ids=lambda value: str(value)[:40])
def test_a_configuration_that_does_not_fit(folder, method, changes, says):
    refused_at_both_doors(folder(method, config=changes), method, says)


ones = torch.ones
TENSORS = [
    ("lora", {ENCODER + "lora_B.weight": None}, "missing: encoder.lora_B.weight"),
    ("lora", {ENCODER + "lora_B.weight": ones(8, 3)}, r"lora_B.weight is \[8, 3\] and must be \[out, 4\]"),
    ("lora", {ENCODER + "lora_B.weight": ones(4)}, r"lora_B.weight is \[4\] and must be \[out, 4\]"),
    ("lora", {ENCODER + "lora_B.weight": ones(0, 4)}, r"lora_B.weight is \[0, 4\] and must be"),
    ("lora", {ENCODER + "lora_A.weight": ones(4, 6, 1, 1)}, r"lora_A.weight is \[4, 6, 1, 1\] and must be"),
    ("lora", {ENCODER + "lora_A.weight": ones(4, 6, dtype=torch.int64)}, "real numbers, as .*lora_A.weight is in I64"),
    ("lora", {ENCODER + "lora_A.default.weight": ones(4, 6)}, "another model or adapter: encoder.*default.weight"),
    ("lora", {ENCODER + "lora_magnitude_vector": ones(8)}, "layer 'encoder' has a magnitude, as in DoRA"),
    ("lora", {"encoder.lora_A.weight": ones(4, 6)}, "two tensors for 'encoder.lora_A.weight'"),
    ("glora", {"encoder.glora_A.Xd": ones(8, 2)}, "two tensors for 'encoder.glora_A.Xd'"),
    ("glora", {ENCODER + "glora_A.Xu": None}, "missing: encoder.glora_A.Xu"),
    ("glora", {ENCODER + "glora_A.Xu": ones(2, 7)}, r"glora_[AB].Xu is \[2, [67]\] and must be \[2, [67]\]"),
    ("glora", {ENCODER + "glora_A.Xu": ones(2, 6).int()}, "real numbers, as .*glora_A.Xu is in I32"),
    ("glora", {ENCODER + "glora_D.X": None}, "missing: encoder.glora_D.X"),
    ("glora", {ENCODER + "glora_F.Xu": ones(2, 7)}, "another model or adapter: encoder.glora_F.Xu"),
    ("glora", {ENCODER + "glora_A.X": ones(8, 1)}, "another model or adapter: encoder.glora_A.X"),
    ("gralora", {ENCODER + "gralora_A": None}, "missing: encoder.gralora_A"),
    (
        "gralora",
        {ENCODER + "gralora_A": ones(2, 4, 4), ENCODER + "gralora_B": ones(2, 3, 4)},
        r"gralora_B is \[2, 3, 4\] and must be \[2, 4, (out/2|4)\]",
    ),
    ("gralora", {ENCODER + "gralora_A": ones(8, 3)}, r"gralora_A is \[8, 3\] and must be \[2, (in/2|3), 4\]"),
]


@pytest.mark.parametrize("method, changes, says", TENSORS, ids=lambda value: str(value)[:60])
def test_tensors_that_do_not_fit(folder, method, changes, says):
    refused_at_both_doors(folder(method, tensors=changes), method, says)


def test_numbers_that_are_none(folder):
    with pytest.raises(ValueError, match="encoder' must hold finite numbers"):
        xray(folder("lora", tensors={ENCODER + "lora_A.weight": torch.full((4, 6), torch.nan)}))


def test_all_faults_of_all_layers_are_said_at_once(folder):
    changes = {ENCODER + "lora_A.weight": None, "base_model.model.head.lora_B.weight": ones(3, 5)}
    with pytest.raises(ValueError, match=r"missing: encoder.lora_A.weight; of another shape: head.lora_B.weight"):
        xray(folder("lora", tensors=changes))


def test_no_layers_at_all(folder):
    path = folder("lora")
    save_file({"head.weight": ones(3, 7)}, path / WEIGHTS)
    with pytest.raises(ValueError, match="holds no LoRA, which its configuration names"):
        xray(path)


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path("exploded"), "boom")


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_a_pickle_is_never_opened(folder, name, monkeypatch):
    path = folder("glora")
    monkeypatch.chdir(path)
    (path / WEIGHTS).unlink()
    (path / name).write_bytes(pickle.dumps(Bomb()))
    says = "is a pickle, and reading one runs" if "bin" in name else "truncated or damaged"
    refused_at_both_doors(path, "glora", says)
    with pytest.raises(ValueError, match=says):
        xray(path / name)
    assert not (path / "exploded").exists()


FILES = [
    (CONFIG, b"{", "is no JSON"),
    (CONFIG, b"", "is no JSON"),
    (CONFIG, b"\xff\xfe", "is no JSON"),
    (CONFIG, b"[" * 100_000, "is no JSON .it is nested too deeply"),
    (CONFIG, b"[1]", "settings have no names, it is a list"),
    (CONFIG, b'{"self": 1}', "no adapter has a setting 'self'"),
    (CONFIG, b" " * (32 << 20) + b"{}", "has 33,554,434 bytes, and may have 32 MiB"),
    (CONFIG, None, "Can't find 'adapter_config.json'"),
    (WEIGHTS, b"", "truncated or damaged"),
    (WEIGHTS, b"\xff" * 64, "truncated or damaged"),
    (WEIGHTS, b"PK\x03\x04 a zip file", "truncated or damaged"),
    (WEIGHTS, None, "holds no adapter_model.safetensors"),
]


@pytest.mark.parametrize("name, content, says", FILES, ids=lambda value: str(value)[:30])
def test_files_that_are_no_adapter(folder, name, content, says):
    path = folder("glora")
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    refused_at_both_doors(path, "glora", says)


def any_copy(saved, data, tmp_path_factory):
    """Of one method's folder, to be damaged."""
    path = tmp_path_factory.mktemp("copy")
    shutil.copytree(saved[data.draw(st.sampled_from(list(CONFIGS)))], path, dirs_exist_ok=True)
    return path


@settings(max_examples=100)
@given(st.data())
def test_damaged_bytes_are_an_error_or_numbers(saved, tmp_path_factory, data):
    path = any_copy(saved, data, tmp_path_factory)
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
    path = any_copy(saved, data, tmp_path_factory)
    name = data.draw(st.sampled_from(sorted(json.loads((path / CONFIG).read_text()))))
    change(path / CONFIG, {name: data.draw(JSON)})
    try:
        assert xray(path).rows
    except ValueError as error:
        assert str(error).startswith("`path_or_model` (=")


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
    refused_at_both_doors(path, "glora", "two moments of one")


def test_a_folder_that_is_not_there_or_one_too_high(folder, tmp_path):
    with pytest.raises(ValueError, match=r"`path_or_model` \(='nowhere'\) must be a folder on this machine"):
        xray("nowhere")
    path = folder("glora") / "deeper"
    shutil.copytree(path.parent, path, ignore=shutil.ignore_patterns("deeper"))
    (path.parent / CONFIG).unlink()
    refused_at_both_doors(path.parent, "glora", "; there is one in deeper")


def test_the_base_model_must_fit(folder):
    other = Net()
    other.encoder = nn.Linear(6, 9)
    with pytest.raises(
        ValueError, match=r"_config.json and `base_model`.*encoder.glora_A.Xd is \[8, 2\] and must be \[9, 2\]"
    ):
        xray(folder("glora"), other)
    with pytest.raises(ValueError, match=r"`base_model` has no layer 'encoder'"):
        xray(folder("glora"), nn.Linear(6, 8))
    other.encoder = nn.Conv2d(6, 8, 1)
    with pytest.raises(ValueError, match=r"in `base_model` layer 'encoder' is a Conv2d"):
        xray(folder("glora"), other)
    with pytest.raises(ValueError, match=r"another model or adapter: encoder.glora_C.Xd"):
        xray(folder("glora"), Net(bias=False))
    other.encoder = nn.Linear(6, 10)
    with pytest.raises(ValueError, match=r"encoder.gralora_B is \[2, 4, 4\] and must be \[2, 4, 5\]"):
        xray(folder("gralora"), other)
    other.encoder = nn.Linear(6, 9)
    with pytest.raises(ValueError, match=r"9 and 2: its k must divide the features .* encoder \(k 2, 6 → 9 features"):
        xray(folder("gralora"), other)


def test_what_a_reader_has_to_know_is_noted(folder):
    report = xray(folder("lora", {"init_lora_weights": "pissa_niter_4", "alora_invocation_tokens": [1], "novel": 2}))
    assert len(report.notes) == 3 and "novel" in report.notes[0] and "'pissa_niter_4'" in report.notes[1]
