"""Every writer of this package, as the two adapters that it writes one over the other, and who reads what it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peft
import torch
from peft.utils import hotswap
from torch import nn

from glora_lab import export_peft, load_adapter, xray
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.cli import course
from glora_lab.ideas.training.panel_keep import KeepControls
from tests.adapters.small_models import gpt2
from tests.faults.campaign import MINE, TARGETS, Net, Read, outputs
from tests.faults.killing import Write

SCRATCH = TemporaryDirectory()  # until the process ends
Writer = tuple[Write, Write, Mapping[str, Read]]


def all_writers(plain: Read) -> dict[str, Writer]:
    """Old and new differ in their configurations and in values, so that a mixture reads like neither."""
    ours = {"load_adapter": load, "from_pretrained": from_pretrained, "hotswap_adapter": hotswapped, "xray": looked}
    stock = {"load_adapter": load, "xray": looked, "plain PEFT": plain}
    return {
        "save_pretrained, GLoRA": (*both(glora, save), ours),
        "save_pretrained, GraLoRA": (*both(gralora, save), ours),
        "save_pretrained of two adapters": (*both(pair, save), {"second": lambda f: load(f / "second"), **ours}),
        "save_pretrained of transformers": (*both(of_transformers, save), {"load_adapter": into_transformers}),
        "export_peft, peft, GLoRA": (*both(stock_glora, export_peft), stock),
        "export_peft, peft, GraLoRA": (*both(stock_gralora, export_peft), stock),
        "export_peft, lora": (*both(glora, as_lora), stock),
        "Keep, GLoRA": (*both(glora, keep), ours),
        "Keep, LoRA": (*both(lora, keep), stock),
        "glora-lab open": open_course(),
    }


def both(make: Callable[[int], Any], write: Callable[[Any, Path], object]) -> tuple[Write, Write]:
    old, new = make(1), make(2)
    return lambda folder: write(old, folder), lambda folder: write(new, folder)


def filled(model: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def adapted(config: peft.PeftConfig, seed: int) -> Any:
    return filled(peft.get_peft_model(Net(), config), seed)


def glora(seed: int) -> Any:
    return adapted(GloraConfig(r=2, alpha=4 * seed, target_modules=TARGETS, config_A="none"), seed)


def gralora(seed: int) -> Any:
    return adapted(GraloraConfig(r=4, gralora_k=2, alpha=4 * seed, target_modules=TARGETS), seed)


def pair(seed: int) -> Any:
    model = glora(seed)
    model.add_adapter("second", GloraConfig(r=3, alpha=6 * seed, target_modules=TARGETS[:1]))
    model.set_adapter("second")
    filled(model, seed + 5).set_adapter("default")
    return model


def stock_glora(seed: int) -> Any:
    config_c = "lora" if seed == 1 else "none"
    return adapted(GloraConfig(r=2, target_modules=TARGETS, config_C=config_c, config_D_E="constant"), seed)


def stock_gralora(seed: int) -> Any:
    return gralora(seed)


def lora(seed: int) -> Any:
    return adapted(peft.LoraConfig(r=2, lora_alpha=4 * seed, target_modules=TARGETS), seed)


def of_transformers(seed: int) -> Any:
    torch.manual_seed(0)
    model = gpt2()
    model.add_adapter(GloraConfig(r=2, alpha=4 * seed, target_modules=["c_attn"], config_A="none", config_C="none"))
    return filled(model, seed)


def save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def as_lora(model: Any, folder: Path) -> None:
    export_peft(model, folder, format="lora")


def keep(model: Any, folder: Path) -> None:
    controls = KeepControls(lambda: None)
    controls.folder.value = str(folder)
    controls.save(model, "net")


def load(folder: Path) -> list[float]:
    return outputs(load_adapter(Net(), folder))


def from_pretrained(folder: Path) -> list[float]:
    return outputs(peft.PeftModel.from_pretrained(Net(), folder))


def hotswapped(folder: Path) -> list[float]:
    config = peft.PeftConfig.from_pretrained(folder)
    model = peft.get_peft_model(Net(), type(config)(r=4, target_modules=TARGETS))
    hotswap.hotswap_adapter(model, folder, "default", "cpu")
    return outputs(model)


def looked(folder: Path) -> list[float]:
    return [round(row.norm, 4) for row in xray(folder, Net()).rows]


def into_transformers(folder: Path) -> list[float]:
    torch.manual_seed(0)
    model: Any = gpt2()
    model.load_adapter(str(folder))
    with torch.no_grad():
        return [round(value, 4) + 0.0 for value in model.eval()(torch.arange(6)[None]).logits[0, -1].tolist()]


def open_course() -> Writer:
    """The package's notebooks over those of an earlier one, the first of which its reader has changed."""
    package, earlier = course.PACKAGE, Path(SCRATCH.name) / "package"
    (earlier / course.FOLDER).mkdir(parents=True)
    for file in course.course_folder().iterdir():
        if file.suffix in course.KINDS:
            (earlier / course.FOLDER / file.name).write_bytes(b"earlier " + file.read_bytes())

    def copy_from(source: Path) -> Write:
        def write(folder: Path) -> None:
            course.PACKAGE = source
            course.copy_course(folder)

        return write

    def old(folder: Path) -> None:
        copy_from(earlier)(folder)
        (folder / course.FIRST).write_text("my own")

    names = sorted(file.name for file in (earlier / course.FOLDER).iterdir() if file.name != course.FIRST)
    return old, copy_from(package), {name: partial(one_file, name) for name in names}


def one_file(name: str, folder: Path) -> list[str]:
    if (folder / MINE).exists():
        assert (folder / course.FIRST).read_text() == "my own"
    if not (folder / name).exists():
        raise ValueError(f"no {name} yet")
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest()]
