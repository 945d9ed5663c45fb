"""write: what comes after a prompt, drawn or not, and nothing changed by asking."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glora_lab.data import decode, encode
from glora_lab.models import load_model
from glora_lab.training import write
from tests.data.own_data import llama, tokenizer
from tests.training.reader import reader

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def writer() -> LlamaForCausalLM:
    """A small model over bytes with weights large enough to prefer some of them."""
    config = LlamaConfig(vocab_size=256, initializer_range=1.0, bos_token_id=None, eos_token_id=None, **SIZES)
    return LlamaForCausalLM(config).eval()


def most_likely(model: LlamaForCausalLM, prompt: str, length: int) -> str:
    ids = encode(prompt)
    with torch.no_grad():
        for _ in range(length):
            ids = torch.cat([ids, model(input_ids=ids[None]).logits[0, -1].argmax()[None]])
    return decode(ids[len(encode(prompt)) :])


def test_without_a_draw_it_is_the_most_likely_byte_each_time_whatever_else_is_asked(writer: LlamaForCausalLM) -> None:
    prompts = ("The ", "é", "\0a", "A longer prompt: ")
    writing = write(writer, prompts, length=6, temperature=0)
    assert writing.prompts == prompts
    assert writing.texts == tuple(most_likely(writer, prompt, 6) for prompt in prompts)
    assert write(writer, "The ", length=6, temperature=0).texts == writing.texts[:1]


def test_a_seed_draws_the_same_again_and_keeps_the_callers_random_state(writer: LlamaForCausalLM) -> None:
    first = write(writer, "The ", temperature=1)
    before = torch.random.get_rng_state()
    assert write(writer, "The ", temperature=1) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert write(writer, "The ", temperature=1, seed=1) != first


def test_the_lower_the_temperature_the_nearer_to_the_most_likely(writer: LlamaForCausalLM) -> None:
    plain = write(writer, "The ", length=8, temperature=0)
    assert write(writer, "The ", length=8, temperature=1e-6) == plain
    assert write(writer, "The ", length=8, temperature=5) != plain


def test_it_writes_as_many_bytes_as_it_is_asked_for() -> None:
    model = load_model("bytes-llama")
    assert [len(write(model, "The ", length=n).texts[0].encode()) for n in (1, 7, 64)] == [1, 7, 64]


def test_it_asks_in_eval_mode_and_gives_each_module_its_mode_back(writer: LlamaForCausalLM) -> None:
    writer.train()
    writer.model.norm.eval()
    write(writer, "The ", length=2)
    assert writer.training and not writer.model.norm.training
    assert all(parameter.grad is None for parameter in writer.parameters())


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"prompts": ""}, "prompts"),
        ({"prompts": []}, "prompts"),
        ({"prompts": ["a", ""]}, "prompts"),
        ({"prompts": [1]}, "prompts"),
        ({"length": 0}, "length"),
        ({"length": True}, "length"),
        ({"length": 1.5}, "length"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_what_cannot_be_asked_is_named(writer: LlamaForCausalLM, asked: dict, named: str) -> None:
    with pytest.raises(ValueError, match=rf"`{named}` \(="):
        write(writer, **{"prompts": "a", **asked})


def test_a_model_of_another_vocabulary_is_refused() -> None:
    words = LlamaForCausalLM(LlamaConfig(vocab_size=300, **SIZES))
    with pytest.raises(ValueError, match=r"`model` must write bytes, with a vocabulary of 256; this one has 300"):
        write(words, "a")
    with pytest.raises(ValueError, match=r"`model` must write bytes"):
        write(reader(), "a")
    with pytest.raises(ValueError, match=r"`model` must write bytes"):
        write(load_model("digits-vit"), "a")


def test_with_a_tokenizer_it_writes_its_tokens() -> None:
    model, words = llama(), tokenizer()
    written = write(model, ["the film", "so"], length=3, temperature=0, tokenizer=words)
    ids = torch.tensor([words("the film")["input_ids"]])
    with torch.no_grad():
        for _ in range(3):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert f"the film{written.texts[0]}" == words.decode(ids[0].tolist()) and len(written.texts) == 2
