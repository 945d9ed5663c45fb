"""PEFT's own GLORA and GRALORA answered by our layers, for the length of a block."""

from __future__ import annotations

import copy
import threading

import peft
import pytest
import torch
from peft import PeftModel, PeftType, mapping

from glora_lab.adapters import GloraConfig, GloraModel, GraloraModel, load_adapter, use_in_peft

from .block_models import BlockNet

TABLES = (
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING,
    mapping.PEFT_TYPE_TO_TUNER_MAPPING,
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING,
)
X = torch.randn(4, 24)
STOCK = {GloraModel: peft.GloraConfig, GraloraModel: peft.GraloraConfig}


def state() -> list[object]:
    return [dict(table) for table in TABLES] + [PeftModel.__init__, PeftModel.add_adapter]


def stock_is_back() -> bool:
    model = peft.get_peft_model(BlockNet(), peft.GloraConfig(target_modules=["encoder"]))
    return type(model.base_model) is peft.tuners.glora.GloraModel


@pytest.mark.parametrize("ours", STOCK)
def test_stock_configurations_give_our_layers(tmp_path, ours):
    before, net = state(), BlockNet()
    asked = {"r": 4, "target_modules": {"encoder"}, "modules_to_save": ["head"], "task_type": "FEATURE_EXTRACTION"}
    with use_in_peft():
        model = peft.get_peft_model(copy.deepcopy(net), STOCK[ours](**asked))
        model.add_adapter("second", STOCK[ours](r=2, target_modules=["decoder"]))
    assert state() == before and stock_is_back()
    assert type(model.base_model) is ours and model.peft_config["default"].r == 4
    assert model.peft_type == model.peft_config["second"].peft_type == f"{model.base_model.prefix[:-1].upper()}_LAB"
    model.eval().save_pretrained(tmp_path)  # and lives on outside
    assert type(load_adapter(copy.deepcopy(net), tmp_path).base_model) is ours


@pytest.mark.parametrize("ours", STOCK)
def test_stock_checkpoints_give_our_layers(tmp_path, ours):
    net = BlockNet()
    stock = peft.get_peft_model(copy.deepcopy(net), STOCK[ours](r=4, target_modules=["encoder"], init_weights=False))
    stock.eval().save_pretrained(tmp_path)
    with use_in_peft():
        model = PeftModel.from_pretrained(copy.deepcopy(net), tmp_path)
        model.load_adapter(tmp_path, "second")
    model.set_adapter("second")
    assert type(model.base_model) is ours
    assert (model.base_model.model.encoder(X) - stock.base_model.model.encoder(X)).abs().max() < 1e-5


def test_injection_gives_our_layers():
    with use_in_peft():
        model = peft.inject_adapter_in_model(peft.GloraConfig(target_modules=["encoder"]), BlockNet())
    assert type(model.encoder).__module__.startswith("glora_lab.")


def test_an_exception_puts_peft_back():
    before = state()
    with pytest.raises(RuntimeError, match="within"), use_in_peft():
        raise RuntimeError("within")
    assert state() == before


def test_blocks_nest():
    before = state()
    with use_in_peft():
        with use_in_peft():
            pass
        assert mapping.PEFT_TYPE_TO_TUNER_MAPPING[PeftType.GLORA] is GloraModel
    assert state() == before


def test_the_last_thread_puts_peft_back():
    before, inside, leave = state(), threading.Event(), threading.Event()

    def other() -> None:
        with use_in_peft():
            inside.set()
            leave.wait(100)

    thread = threading.Thread(target=other)
    with use_in_peft():
        thread.start()
        assert inside.wait(100)
    assert mapping.PEFT_TYPE_TO_TUNER_MAPPING[PeftType.GLORA] is GloraModel
    leave.set()
    thread.join()
    assert state() == before


def test_our_own_and_others_are_as_ever():
    with use_in_peft():
        ours = peft.get_peft_model(BlockNet(), GloraConfig(target_modules=["encoder"]))
        lora = peft.get_peft_model(BlockNet(), peft.LoraConfig(target_modules=["encoder"]))
    assert type(ours.base_model) is GloraModel and type(lora.base_model) is peft.LoraModel
