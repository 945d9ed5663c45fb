"""An adapter's files: written whole or not at all, and examined before a model is touched."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER
from glora_lab.measure import xray

from .block_models import BlockNet, gralora_model
from .small_models import bits, glora_model, gpt2, same_bits
from .test_injection import fingerprint

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAKE = {"GLoRA": glora_model, "GraLoRA": gralora_model}
START = "base_model.model."


def truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def changed(edit):
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def configured(**values):
    def rewrite(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**content, **values}))

    return rewrite


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


DAMAGE = {
    "truncated": (truncated, "truncated or damaged"),
    "no safetensors": (lambda folder: (folder / WEIGHTS).write_text("PK\x03\x04 something else"), "damaged"),
    "empty": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "damaged"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "holds no adapter_model.safetensors"),
    "a pickle": (pickled, "pickle"),
    "one missing": (changed(lambda t: t.pop(min(n for n in t if "lora_" in n))), "missing: (decoder|encoder)"),
    "bare names": (
        changed(lambda t: [t.update({name.removeprefix(START): t.pop(name)}) for name in [*t]]),
        r"names do not begin with 'base_model\.model\.'",
    ),
    "two of a name": (changed(lambda t: t.update({"head.bias": t[START + "head.bias"].clone()})), "two tensors for"),
    "its head missing": (changed(lambda t: t.pop(START + "head.weight")), r"missing: head\.weight"),
    "one bias missing": (changed(lambda t: t.pop(START + "encoder.base_layer.bias")), r"missing: encoder\.bias"),
    "another model's": (changed(lambda t: t.update({START + "other.X": torch.ones(2)})), r"another model.*other\.X"),
    "another shape": (
        changed(lambda t: t.update({START + "head.bias": torch.ones(9)})),
        r"another shape: head\.bias is \[9\] and must be \[3\]",
    ),
    "another rank": (configured(r=8), "of another shape"),
    "a newer version": (configured(glora_lab_version=2), r"`glora_lab_version` .=2..*update glora_lab"),
    "a damaged version": (configured(glora_lab_version="x"), "`glora_lab_version`"),
    "an unknown setting": (configured(surprise=True), "surprise=True; update glora_lab"),
    "no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "is no JSON"),
    "an unknown type": (configured(peft_type="FOO"), "'FOO'"),
}
LOADERS = {"load_adapter": load_adapter, "from_pretrained": PeftModel.from_pretrained}


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("name", DAMAGE)
def test_a_bad_file_is_explained_and_leaves_the_model_as_it_was(tmp_path, name, kind, load):
    if load == "from_pretrained" and name in ("no JSON", "an unknown type"):
        pytest.skip("PEFT reads the type by itself")
    damage, words = DAMAGE[name]
    bias = {"GLoRA": "glora_only", "GraLoRA": "gralora_only"}[kind] if PEFT_ASKS_THE_TUNER else "none"
    if name == "one bias missing" and bias == "none":
        pytest.skip("this PEFT saves no biases")
    MAKE[kind](BlockNet(), modules_to_save=["head"], bias=bias, r=4).save_pretrained(tmp_path)
    damage(tmp_path)
    model = BlockNet()
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match=words):
        LOADERS[load](model, tmp_path)
    assert fingerprint(model) == before and same_bits(model, tensors) and not hasattr(model, "peft_config")


CONFIGS = {"GLoRA": GloraConfig(target_modules=["c_attn"]), "GraLoRA": GraloraConfig(target_modules=["c_attn"])}
OF_TRANSFORMERS = {
    "truncated": (truncated, "truncated or damaged"),
    "a pickle": (pickled, "pickle"),
    "one missing": (changed(lambda t: t.pop(min(t))), r"missing: transformer\.h\.0\.attn\.c_attn\.g"),
    "another model's": (changed(lambda t: t.update({START + "other.X": torch.ones(2)})), r"another model.*other\.X"),
    "another shape": (changed(lambda t: t.update({min(t): torch.ones(9)})), r"another shape: .* is \[9\] and must be"),
    "a newer version": (configured(glora_lab_version=2), r"`glora_lab_version` .=2..*update glora_lab"),
}


@pytest.mark.parametrize("load", ["load_adapter", "from_pretrained"])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_transformers_own_door_is_guarded_as_well(tmp_path, name, kind, load):
    damage, words = OF_TRANSFORMERS[name]
    gpt2().save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    base.add_adapter(copy.deepcopy(CONFIGS[kind]))
    base.save_pretrained(tmp_path / "adapter")
    damage(tmp_path / "adapter")
    if load == "from_pretrained":
        with pytest.raises(ValueError, match=words):
            AutoModelForCausalLM.from_pretrained(tmp_path / "adapter")
        return
    model = gpt2()
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match=words):
        model.load_adapter(str(tmp_path / "adapter"))
    assert fingerprint(model) == before and same_bits(model, tensors)
    assert not hasattr(model, "peft_config") and not model._hf_peft_config_loaded


def test_transformers_loads_adapters_of_others_and_from_memory_as_ever(tmp_path):
    model = gpt2()
    model.add_adapter(peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    model.save_pretrained(tmp_path)
    changed(lambda t: t.pop(min(t)))(tmp_path)
    assert gpt2().load_adapter(str(tmp_path)).missing_keys
    config = GloraConfig(target_modules=["c_attn"], init_weights=False)
    ours, other = gpt2(), gpt2()
    ours.add_adapter(copy.deepcopy(config))
    weights = {START + name: tensor for name, tensor in ours.get_adapter_state_dict().items()}
    info = other.load_adapter(peft_config=config, adapter_state_dict=weights)
    assert not info.missing_keys and not info.unexpected_keys


def test_transformers_reads_bare_names(tmp_path):
    base, other = gpt2(), gpt2()
    base.add_adapter(GloraConfig(target_modules=["c_attn"], init_weights=False))
    base.save_pretrained(tmp_path)
    DAMAGE["bare names"][0](tmp_path)
    other.load_adapter(str(tmp_path))
    expected, read = base.get_adapter_state_dict(), other.get_adapter_state_dict()
    assert expected.keys() == read.keys() and all(torch.equal(expected[name], read[name]) for name in expected)


@pytest.mark.parametrize("kind", MAKE)
def test_a_second_adapter_that_does_not_fit_leaves_the_first(tmp_path, kind):
    MAKE[kind](BlockNet(), r=8).save_pretrained(tmp_path)
    configured(r=4)(tmp_path)
    model = MAKE[kind](BlockNet(), r=4)
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match="of another shape"):
        model.load_adapter(tmp_path, "second")
    assert fingerprint(model) == before and same_bits(model, tensors) and list(model.peft_config) == ["default"]


def test_a_stock_setting_that_is_new_is_refused_where_it_is_used(tmp_path):
    peft.GloraConfig(target_modules=["a"]).save_pretrained(tmp_path)
    configured(brand_new=None)(tmp_path)
    with pytest.warns(UserWarning, match="brand_new"):
        assert GloraConfig.from_pretrained(tmp_path).r == 8
    configured(brand_new=3)(tmp_path)
    with pytest.raises(ValueError, match="brand_new=3"):
        GloraConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("cls", [GloraConfig, GraloraConfig])
def test_the_version_is_in_the_file_and_was_1_before_it_was(tmp_path, cls):
    cls(target_modules=["a"]).save_pretrained(tmp_path)
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content.pop("glora_lab_version") == 1
    (tmp_path / CONFIG).write_text(json.dumps(content))
    assert cls.from_pretrained(tmp_path) == cls(target_modules=["a"])


@pytest.mark.parametrize("kind", MAKE)
def test_pickles_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="`safe_serialization`"):
        MAKE[kind](BlockNet()).save_pretrained(tmp_path / "new", safe_serialization=False)
    assert not (tmp_path / "new").exists()


def test_other_adapters_are_saved_as_peft_saves_them(tmp_path):
    lora = peft.get_peft_model(BlockNet(), peft.LoraConfig(target_modules=["encoder"]))
    lora.save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "adapter_model.bin").is_file()


KILLED = """
import os, sys
sys.path[:0] = sys.argv[2:]
import peft.peft_model
from tests.adapters.block_models import BlockNet
from tests.adapters.small_models import glora_model

def killed(tensors, path, metadata=None):
    open(path, "wb").write(b"half of it")
    os.kill(os.getpid(), 9)

peft.peft_model.safe_save_file = killed
glora_model(BlockNet(), r=2).save_pretrained(sys.argv[1])
"""


def test_a_killed_process_leaves_the_old_files(tmp_path):
    model = glora_model(BlockNet(), r=3)
    model.save_pretrained(tmp_path)
    old = {name: (tmp_path / name).read_bytes() for name in (WEIGHTS, CONFIG)}
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), root], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in old} == old


@pytest.mark.parametrize("read", [lambda folder: load_adapter(BlockNet(), folder), xray])
def test_a_refusal_says_how_an_interrupted_saving_is_finished(tmp_path, read):
    model = glora_model(BlockNet(), r=3)
    whole = tmp_path / ".saving-killed" / "whole"
    model.save_pretrained(whole)
    (whole / WEIGHTS).rename(tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=f"saving was interrupted. Save it again, or move what is in {whole}"):
        read(tmp_path)
    (whole / CONFIG).rename(tmp_path / CONFIG)
    read(tmp_path)


def test_two_files_of_two_moments_are_refused(tmp_path):
    model = glora_model(BlockNet(), r=3)
    model.save_pretrained(tmp_path / "old")
    glora_model(BlockNet(), r=3, alpha=7).save_pretrained(tmp_path / "new")
    shutil.copyfile(tmp_path / "new" / CONFIG, tmp_path / "old" / CONFIG)
    net = BlockNet()
    for load in LOADERS.values():
        with pytest.raises(ValueError, match="two moments of one: saving was interrupted"):
            load(net, tmp_path / "old")
    with pytest.raises(ValueError, match="two moments"):
        model.load_adapter(tmp_path / "old", "second")
    assert not hasattr(net, "peft_config") and list(model.peft_config) == ["default"]


@pytest.mark.parametrize("kind", MAKE)
def test_the_stamp_is_in_nobodys_way(tmp_path, kind):
    x = torch.randn(2, 24)
    model = MAKE[kind](BlockNet(), r=4)
    model.add_adapter("second", model.peft_config["default"])
    for folder in ("one", "two"):
        model.save_pretrained(tmp_path / folder)
    for name in (WEIGHTS, CONFIG, f"second/{WEIGHTS}", f"second/{CONFIG}"):  # it follows from what is saved
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    plain = peft.PeftConfig.from_pretrained(tmp_path / "one")
    assert type(plain) is type(model.peft_config["default"]) and plain.glora_lab_stamp is None
    changed(lambda tensors: None)(tmp_path / "one")  # written anew by a program that knows no stamp
    expected, base = model(x), model.unload()
    for folder in ("one", "two"):
        assert torch.equal(load_adapter(copy.deepcopy(base), tmp_path / folder)(x), expected)


def test_a_failing_disk_leaves_the_old_files(tmp_path, monkeypatch):
    model = glora_model(BlockNet())
    model.save_pretrained(tmp_path)
    old = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, folder, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(GloraConfig, "save_pretrained", full)  # after the weights
    torch.nn.init.ones_(model.base_model.model.encoder.glora_B["default"].Xd)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_what_stands_in_the_folder_stays(tmp_path):
    (tmp_path / "README.md").write_text("---\n{}\n---\nMine.\n")
    (tmp_path / "notes.txt").write_text("kept")
    model = glora_model(BlockNet())
    model.add_adapter("second", GloraConfig(target_modules=["encoder"]))
    model.save_pretrained(tmp_path)
    assert "Mine." in (tmp_path / "README.md").read_text() and (tmp_path / "notes.txt").read_text() == "kept"
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["README.md", CONFIG, WEIGHTS, "notes.txt", f"second/{CONFIG}", f"second/{WEIGHTS}"]
