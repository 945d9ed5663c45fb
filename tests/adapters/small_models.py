"""Small models, and the few steps that the adapter tests share."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import peft
import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters import GloraConfig, GloraLinear
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER

# every choice of modes, spelled out here and not taken from the code under test
CHOICES = [
    dict(zip("ABCDE", modes, strict=True))
    for modes in itertools.product(
        ("lora", "vector", "constant", "none"),
        ("lora", "vector", "constant", "none"),
        ("lora", "vector", "none"),
        ("vector", "constant", "none"),
        ("vector", "constant", "none"),
    )
]
SINGLES = [choice for choice in CHOICES if sum(mode != "none" for mode in choice.values()) == 1]


def choices(form: str) -> list[dict[str, str]]:
    """All of them; for the product form those in which A has more than one number, for the others are the same."""
    return [choice for choice in CHOICES if form == "elementwise" or choice["A"] in ("lora", "vector")]


def saveable(cases: dict) -> dict:
    """The cases that the installed PEFT saves: 0.20 leaves biases of the base out, as GLoRA says in a warning."""
    return {name: case for name, case in cases.items() if PEFT_ASKS_THE_TUNER or "'bias'" not in repr(case)}


def named(choice: dict[str, str]) -> str:
    """A short name for a choice, e.g. `A lora, E vector`."""
    return ", ".join(f"{path} {mode}" for path, mode in choice.items() if mode != "none") or "none"


class Net(nn.Module):
    """Three layers whose names patterns can tell apart."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 8, bias=bias)
        self.decoder = nn.Linear(8, 7, bias=bias)
        self.head = nn.Linear(7, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.decoder(torch.tanh(self.encoder(x)))))


def glora_layer(base: nn.Module, choice: dict[str, str], **settings) -> GloraLinear:
    """One layer with the paths of `choice` on and random values in them, unless `init_weights` says otherwise."""
    settings = {"r": 3, "init_weights": False, **settings}
    return GloraLinear(base, "default", GloraConfig.only(**choice, **settings), layer_name="layer")


def glora_model(model: nn.Module, adapter_name: str = "default", **settings) -> peft.PeftModel:
    """`model` with random GLoRA adapters on encoder and decoder, in evaluation mode."""
    settings = {"r": 3, "init_weights": False, "target_modules": ["encoder", "decoder"], **settings}
    return peft.get_peft_model(model, GloraConfig(**settings), adapter_name=adapter_name).eval()


def add(model: peft.PeftModel, adapter_name: str, **settings) -> None:
    settings = {"r": 3, "init_weights": False, "target_modules": ["encoder", "decoder"], **settings}
    model.add_adapter(adapter_name, GloraConfig(**settings))


def conv1d(in_features: int, out_features: int) -> Conv1D:
    layer = Conv1D(out_features, in_features)
    nn.init.normal_(layer.bias)
    return layer


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_layer=2, n_embd=32, n_head=2, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=1, pad_token_id=2
    )
    return transformers.GPT2LMHeadModel(config).eval()


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, vocab_size=64
    )
    return transformers.LlamaForCausalLM(config).eval()


def t5() -> nn.Module:
    config = transformers.T5Config(
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        vocab_size=64,
        decoder_start_token_id=0,
        initializer_factor=3.0,  # or every generated token is the same
    )
    return transformers.T5ForConditionalGeneration(config).eval()


@contextmanager
def expecting(*messages: str) -> Iterator[None]:
    """Within, warnings that begin with one of `messages` (regular expressions) pass."""
    with warnings.catch_warnings():
        for message in messages:
            warnings.filterwarnings("ignore", message=message)
        yield


INERT = "Inert GLoRA paths"
MERGED_ALREADY = "Already following adapters were merged"
GAINED_BIAS = "Merging gives layer"
SECOND_TUNER = "Already found a `peft_config` attribute"


def bits(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every tensor in the state dict."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(model: nn.Module, before: dict[str, Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)


def largest_difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def replica_of(model: nn.Module) -> nn.Module:
    """What nn.DataParallel makes of a model on each of its devices: modules that hold copies as plain attributes."""
    modules = list(model.modules())
    copies = [module._replicate_for_data_parallel() for module in modules]
    held = {id(p): p.view_as(p) for p in model.parameters()}  # the copies lead back to the parameters
    for module, copied in zip(modules, copies, strict=True):
        copied._former_parameters = {}
        for name, child in module._modules.items():
            copied._modules[name] = None if child is None else copies[modules.index(child)]
        for name, parameter in module._parameters.items():
            if parameter is None:
                copied._parameters[name] = None
            else:
                setattr(copied, name, held[id(parameter)])
                copied._former_parameters[name] = held[id(parameter)]
        for name, buffer in module._buffers.items():
            copied._buffers[name] = buffer
    return copies[0]
