"""Published sizes, and shapes that take neither time nor memory."""

from __future__ import annotations

import pytest
from transformers import BertConfig, BertModel, PretrainedConfig

from glora_lab.models import ARCHITECTURES, architecture, meta_model

PUBLISHED = {
    "GPT-2": 124_439_808,
    "BERT-base": 109_482_240,
    "ViT-B/16": 86_567_656,
    "Llama-3-8B": 8_030_261_248,
    "Mistral-7B": 7_241_732_096,  # v0.1
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3-70B": 70_553_706_496,
}


def test_every_architecture_has_a_published_size_to_hold() -> None:
    assert list(ARCHITECTURES) == list(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_architecture_has_its_published_size_and_no_weights(name: str) -> None:
    model = meta_model(architecture(name))
    assert model.num_parameters() == PUBLISHED[name]
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    assert not model.training


def test_an_unknown_architecture_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"`name` \(='GPT-5'\).*GPT-2.*Llama-3-70B"):
        architecture("GPT-5")


def test_a_configuration_without_architectures_gives_the_base_model() -> None:
    assert type(meta_model(BertConfig(num_hidden_layers=1))) is BertModel


def test_a_configuration_of_no_known_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`config` \(=PreTrainedConfig\)"):
        meta_model(PretrainedConfig(architectures=["NoSuchModel"]))
