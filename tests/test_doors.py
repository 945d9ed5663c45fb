"""Every door that takes a folder takes `~`, a `Path`, and refuses what names none in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils import hotswap
from torch import nn

from glora_lab import export_peft, load_adapter, load_model, xray
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.ideas.training.panel_keep import KeepControls
from glora_lab.panels import XrayPanel
from tests.adapters.block_models import BlockNet, gralora_model
from tests.adapters.small_models import glora_model, gpt2

Door = Callable[[Any], Any]
CONFIG = "adapter_config.json"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def of_transformers() -> Any:
    model = gpt2()
    model.add_adapter(GloraConfig(target_modules=["c_attn"], config_A_B="vector", config_C="none"))
    return model


def keep(folder: Any, model: Any) -> KeepControls:
    controls = KeepControls(lambda: None)
    controls.folder.value = os.fspath(folder)
    controls.save(model, "net")
    return controls


def lora(net: nn.Module) -> peft.PeftModel:
    return peft.get_peft_model(net, peft.LoraConfig(target_modules=["encoder"], init_lora_weights=False))


def in_a_panel(folder: Any) -> None:
    panel = XrayPanel()
    panel.folder.value = os.fspath(folder)
    assert panel.errors == []
    if panel.report is None:
        raise ValueError(panel.problem)


WRITERS: dict[str, Door] = {
    "save_pretrained, GLoRA": lambda folder: glora_model(BlockNet()).save_pretrained(folder),
    "save_pretrained, GraLoRA": lambda folder: gralora_model(BlockNet()).save_pretrained(folder),
    "save_pretrained, transformers": lambda folder: of_transformers().save_pretrained(folder),
    "save_pretrained, configuration": lambda folder: GraloraConfig().save_pretrained(folder),
    "export_peft, peft": lambda folder: export_peft(glora_model(BlockNet()), folder),
    "export_peft, lora": lambda folder: export_peft(glora_model(BlockNet()), folder, format="lora"),
    "Keep, GLoRA": lambda folder: keep(folder, glora_model(BlockNet())),
    "Keep, LoRA": lambda folder: keep(folder, lora(BlockNet())),
}
READERS: dict[str, Door] = {
    "load_adapter": lambda folder: load_adapter(BlockNet(), folder),
    "PeftModel.from_pretrained": lambda folder: peft.PeftModel.from_pretrained(BlockNet(), folder),
    "PeftModel.load_adapter": lambda folder: glora_model(BlockNet()).load_adapter(folder, "second"),
    "from_pretrained of a configuration": GloraConfig.from_pretrained,
    "hotswap_adapter": lambda folder: hotswap.hotswap_adapter(glora_model(BlockNet()), folder, "default", "cpu"),
    "xray": xray,
    "XrayPanel": in_a_panel,
}
PEFTS = ("PeftModel.from_pretrained", "PeftModel.load_adapter", "hotswap_adapter")  # and say it in PEFT's words


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("door", WRITERS)
def test_a_writer_writes_into_a_readers_home(home: Path, door: str, kind: type) -> None:
    WRITERS[door](kind("~/kept/here"))
    assert (home / "kept" / "here" / CONFIG).is_file() and os.listdir() == []


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("door", READERS)
def test_a_reader_reads_from_a_readers_home(home: Path, door: str, kind: type) -> None:
    glora_model(BlockNet()).save_pretrained(home / "kept")
    READERS[door](kind("~/kept"))
    (home / "kept" / CONFIG).rename(home / "kept" / "moved")
    with pytest.raises(ValueError, match=CONFIG):
        READERS[door](kind("~/kept"))


def test_transformers_models_read_from_a_readers_home(home: Path) -> None:
    of_transformers().save_pretrained(home / "kept")
    for folder in ("~/kept", Path("~/kept")):
        model: Any = gpt2()
        model.load_adapter(folder)
        assert type(model.peft_config["default"]) is GloraConfig


@pytest.mark.parametrize("name", ["~nobody_here/x", "n" * 300, "\0"])
@pytest.mark.parametrize("door", [*WRITERS, *(door for door in READERS if door not in PEFTS), "load_model"])
def test_what_names_no_folder_is_refused_by_argument(home: Path, door: str, name: str) -> None:
    argument = {"load_model": "name_or_path", "from_pretrained of a configuration": "pretrained_model_name_or_path"}
    starts = (
        ("save_pretrained", "save_directory"),
        ("Keep", "folder"),
        ("xray", "path_or_model"),
        ("Xray", "path_or_model"),
        ("", "path"),
    )
    expected = argument.get(door) or next(named for start, named in starts if door.startswith(start))
    with pytest.raises(ValueError, match=rf"^`{expected}` \(=.*must name a folder") as refused:
        ({**WRITERS, **READERS, "load_model": load_model}[door])(name)
    assert len(str(refused.value)) < 250
    assert os.listdir() == [] and not home.exists()


@pytest.mark.parametrize("door", PEFTS)
def test_pefts_own_doors_say_that_nothing_is_there(home: Path, door: str) -> None:
    for name in ("~nobody_here/x", "n" * 300):
        with pytest.raises(ValueError, match=f"Can't find '{CONFIG}'"):
            READERS[door](name)


@pytest.mark.parametrize("make", [lora, glora_model])
def test_the_code_of_a_kept_adapter_runs_wherever_it_was_kept(home: Path, make: Callable[[nn.Module], Any]) -> None:
    x = torch.randn(2, 24)
    model = make(BlockNet()).eval()
    expected = model(x)
    code = keep("~/kept", model).code
    after: dict[str, Any] = {"net": model.unload()}
    exec(code, after)
    assert torch.equal(after["model"].eval()(x), expected)


def test_pefts_own_adapters_are_saved_where_peft_saves_them(home: Path) -> None:
    lora(BlockNet()).save_pretrained("~/kept")
    assert (Path("~") / "kept" / CONFIG).is_file() and not home.exists()
