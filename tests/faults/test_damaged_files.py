"""300 adapters, each damaged in one way, at every door: read right, or refused in words with the model as it was.

The doors are `load_adapter`, `PeftModel.from_pretrained`, a second adapter on a model, `hotswap_adapter`, X-ray, and
beside these five `from_pretrained` of the configuration alone. Right is what the file says, number for number.
"""

from __future__ import annotations

import json
import random
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from peft.utils import hotswap
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.measure import xray
from tests.adapters.small_models import bits, same_bits
from tests.adapters.test_injection import fingerprint
from tests.faults.counts import COUNTED

FILES, LONGEST = 300, 1_000
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
START = "base_model.model."
CLASSES = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
Damage = Callable[[Path, random.Random], None]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)


def config(kind: str) -> peft.PeftConfig:
    return CLASSES[kind](r=2, init_weights=False, target_modules=["encoder", "decoder"], rank_pattern={"decoder": 4})


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / CONFIG).read_text())


def write(folder: Path, changed: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(changed))


def a_byte(folder: Path, dice: random.Random) -> None:
    path = folder / dice.choice([CONFIG, WEIGHTS])
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 4)):
        content[dice.randrange(min(len(content), 1_500))] = dice.randrange(256)
    path.write_bytes(content)


def cut_off(folder: Path, dice: random.Random) -> None:
    path = folder / dice.choice([CONFIG, WEIGHTS])
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))] + dice.randbytes(dice.choice([0, 0, 9])))


def the_head(folder: Path, dice: random.Random) -> None:
    path = folder / WEIGHTS
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    one = head[dice.choice([name for name in head if name != "__metadata__"])]
    key = dice.choice(list(one))
    one[key] = dice.choice([None, [], [-1], [2**63, 2**63], "F32", "F4", [0, 10**9], "x" * 9_999, {}])
    text = json.dumps(head).encode()
    size = dice.choice([len(text), len(text), 2**60, 0])
    path.write_bytes(size.to_bytes(8, "little") + text + content[8 + int.from_bytes(content[:8], "little") :])


def a_setting_dropped(folder: Path, dice: random.Random) -> None:
    found = settings(folder)
    found.pop(dice.choice(list(found)))
    write(folder, found)


DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]
ODD = [None, True, False, -1, 0, 3, 10**400, 1e308, float("nan"), "", "x", "é" * 50_000, [], [1], ["encoder"], {}]
ODD += [{"encoder": 1}, {"encoder": "lora"}, {"": 2}, {"A": None}, DEEP, ["x" * 9] * 20_000, [None], "none", 2.0]


def a_setting_of_another_type(folder: Path, dice: random.Random) -> None:
    found = settings(folder)
    write(folder, {**found, dice.choice(list(found)): dice.choice(ODD)})


def another_setting(folder: Path, dice: random.Random) -> None:
    name = dice.choice(["new", "cls", "self", "runtime_config", "glora_lab_derived", "kwargs", "x" * 9_999, "", "r "])
    write(folder, {**settings(folder), name: dice.choice(ODD)})


PATTERNS = [
    r"(([a-z0-9_.])+)+!",
    "(.*)*",
    "(a|aa)+$",
    "(",
    "*",
    "(?i)encoder",
    "[",
    "a{9999999999}",
    ".*coder",
    "x" * 400_000,
]
PATTERNS += ["(?:enc|dec)oder", r"(\w+\s?)*!", "(" * 4_000, "(?P<idx>e)", r"(.*.*.*.*.*.*)!", r"\1", "", "(?<=.*)x"]


def a_pattern(folder: Path, dice: random.Random) -> None:
    one = dice.choice(PATTERNS)
    fields = {
        "target_modules": one,
        "exclude_modules": one,
        "modules_to_save": [one],
        "layers_pattern": [one],
        "rank_pattern": {one: 2, "decoder": 4},
        "alpha_pattern": {one: 3},
    }
    name = dice.choice(list(fields))
    layers = {"layers_to_transform": [0]} if name == "layers_pattern" else {}
    write(folder, {**settings(folder), name: fields[name], **layers})


def tensors(change: Callable[[dict[str, Tensor], str, random.Random], None]) -> Damage:
    def rewrite(folder: Path, dice: random.Random) -> None:
        found = load_file(folder / WEIGHTS)
        change(found, dice.choice(sorted(found)), dice)
        save_file(found, folder / WEIGHTS)

    return rewrite


def renamed(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    other = dice.choice([name[:-1], name.replace("coder", ""), "x" * 20_000, name + ".default", "head.weight", "."])
    found[other] = found.pop(name)


def dropped(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    found.pop(name)


def reshaped(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    found[name] = dice.choice([found[name].flatten(), found[name][None], torch.zeros(0), torch.tensor(1.0)]).clone()


def of_another_type(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    kinds = [torch.int32, torch.int8, torch.bool, torch.complex64, torch.float16, torch.bfloat16, torch.float64]
    found[name] = found[name].to(dice.choice(kinds))


def no_number(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    found[name].view(-1)[dice.randrange(found[name].numel())] = dice.choice([torch.nan, torch.inf, -torch.inf, 3e38])


def one_more(found: dict[str, Tensor], name: str, dice: random.Random) -> None:
    others = ["head.weight", START + "head.weight", START + "encoder.weight", name + "x", START + "encoder.glora_F.X"]
    found[dice.choice(others)] = dice.choice([torch.zeros(4, 8), torch.zeros(3)])


DAMAGES: list[Damage] = [a_byte, cut_off, the_head, a_setting_dropped, a_setting_of_another_type, another_setting]
DAMAGES += [a_pattern, *map(tensors, (renamed, dropped, reshaped, of_another_type, no_number, one_more))]
for damage, change in zip(DAMAGES[7:], (renamed, dropped, reshaped, of_another_type, no_number, one_more), strict=True):
    damage.__name__ = change.__name__


def loaded_right(model: nn.Module, adapter: str, folder: Path) -> bool:
    """Whether the layers hold what the file says."""
    held = {
        f"{START}{name.removeprefix(START)}.{tensor}": value
        for name, layer in model.named_modules()
        if isinstance(layer, LabLayer)
        for tensor, value in layer.tensors(adapter).items()
    }
    stored = load_file(folder / WEIGHTS)
    stored = {START + name.removeprefix(START): value for name, value in stored.items()}
    return bool(held) and all(
        name in stored and torch.equal(value.nan_to_num(7), stored[name].to(value.dtype).nan_to_num(7))
        for name, value in held.items()
    )


BASE = "the base"
DOORS: dict[str, tuple[str, str, Callable[[nn.Module, str, Path], object]]] = {
    # door → whether it is shown the base or a model that carries an adapter, the adapter that it gives, the call
    "load_adapter": (BASE, "default", lambda model, kind, folder: load_adapter(model, folder)),
    "PeftModel.from_pretrained": (
        BASE,
        "default",
        lambda model, kind, folder: PeftModel.from_pretrained(model, folder),
    ),
    "a second adapter": ("", "second", lambda model, kind, folder: model.load_adapter(folder, "second")),
    "hotswap_adapter": ("", "default", lambda m, kind, folder: hotswap.hotswap_adapter(m, str(folder), "default")),
    "xray": (BASE, "", lambda model, kind, folder: xray(folder)),
    "from_pretrained": (BASE, "", lambda model, kind, folder: CLASSES[kind].from_pretrained(folder)),
}


class Models:
    """A base, and of each kind a model that carries an adapter: made anew where a file was taken."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[nn.Module, object, dict[str, Tensor]]] = {}

    def of(self, kind: str) -> nn.Module:
        if kind not in self.held:
            model = Net() if kind == BASE else peft.get_peft_model(Net(), config(kind)).eval()
            self.held[kind] = model, fingerprint(model), bits(model)
        return self.held[kind][0]

    def unchanged(self, kind: str) -> bool:
        model, seen, tensors = self.held[kind]
        return (
            fingerprint(model) == seen
            and same_bits(model, tensors)
            and "second" not in getattr(model, "peft_config", {})
        )


def verdict(models: Models, door: str, kind: str, folder: Path) -> str:
    shown, adapter, call = DOORS[door]
    shown = shown or kind
    model = models.of(shown)
    try:
        call(model, kind, folder)
    except Exception as error:
        said, swapping = str(error), isinstance(error, RuntimeError) and "Hot swapping" in str(error)
        if not isinstance(error, ValueError) and not swapping:
            return f"{type(error).__name__}: {said[:300]}"
        if len(said) > LONGEST:
            return f"a refusal of {len(said)} characters: {said[:300]}"
        if not models.unchanged(shown):
            models.held.pop(shown)
            return f"a model that was changed, and then: {said[:300]}"
        return "refused"
    if not adapter:
        return "right" if models.unchanged(shown) else "a model that was changed by looking"
    models.held.pop(shown)
    return "right" if loaded_right(model, adapter, folder) else "other numbers than the file's"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind in CLASSES:
        folders[kind] = tmp_path_factory.mktemp(kind)
        peft.get_peft_model(Net(), config(kind)).save_pretrained(folders[kind])
    return folders


def test_every_door_reads_right_or_refuses(
    saved: dict[str, Path], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    counts: dict[str, Counter[str]] = {door: Counter() for door in DOORS}
    outside, models, began = [], Models(), time.process_time()
    for number in range(FILES):
        dice = random.Random(number)
        kind, damage = dice.choice(list(CLASSES)), DAMAGES[number % len(DAMAGES)]
        folder = tmp_path / str(number)
        shutil.copytree(saved[kind], folder)
        damage(folder, dice)
        for door in DOORS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = verdict(models, door, kind, folder)
            counts[door][found if found in ("right", "refused") else "outside"] += 1
            if found not in ("right", "refused"):
                outside.append(f"file {number} ({damage.__name__}, {kind}) at {door}: {found}")
        shutil.rmtree(folder)
    lines = [
        f"{door:26} right {found['right']:4}  refused {found['refused']:4}  outside {found['outside']:4}"
        for door, found in counts.items()
    ]
    record_property(COUNTED, [f"{FILES} files, {time.process_time() - began:.0f} s of this process", *lines])
    assert not outside, "\n".join([f"{len(outside)} outside", *outside[:40]])
    assert all(found["right"] and found["refused"] for found in counts.values())
