"""mixed_batch.py: each row of a batch with the adapter named for it."""

from __future__ import annotations

import peft
import pytest
import torch
import transformers
from torch import nn

from glora_lab.adapters.glora import formula
from glora_lab.adapters.glora import layer as glora
from glora_lab.adapters.tuner import uncalled as watch
from glora_lab.adapters.tuner.mixed_batch import rows_by_adapter

from .small_models import INERT, Net, add, expecting, glora_model, gpt2, largest_difference, t5

NAMES = ["second", "__base__", "default", "second"]
IDS = torch.randint(3, 64, (4, 5), generator=torch.Generator().manual_seed(5))


def hooks(model: nn.Module) -> int:
    """How many there are, without those that look at a first pass."""
    all_hooks = [h for m in model.modules() for h in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]
    return sum(hook.__module__ != watch.__name__ for hook in all_hooks)


def two_adapters(model: nn.Module, **settings) -> peft.PeftModel:
    with expecting(INERT):
        model = glora_model(model, **settings)
        add(model, "second", **{**settings, "config_A_B": "vector"})
    return model.eval()


def one_by_one(model: peft.PeftModel, name: str, *args, **kwargs):
    """What the model says with `name` alone active."""
    if name == "__base__":
        with model.disable_adapter():
            return model(*args, **kwargs)
    model.set_adapter(name)
    return model(*args, **kwargs)


def test_rows_by_adapter():
    assert rows_by_adapter(["a", "b", "a"], 3) == {"a": [0, 2], "b": [1]}
    with pytest.raises(ValueError, match="got 3 and 2"):
        rows_by_adapter(["a", "b", "a"], 2)


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (4, 2, 3, 6)])
def test_each_row_has_its_own_adapter(shape):
    model, x = two_adapters(Net().double()), torch.randn(shape, dtype=torch.double)
    mixed = model(x, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        assert largest_difference(mixed[row], one_by_one(model, name, x)[row]) < 1e-12
    assert not hooks(model)


@pytest.mark.parametrize("names", [["second", "default", "default", "second"], NAMES], ids=["adapters", "and the base"])
def test_rows_of_many_tokens_go_through_their_adapter_at_once(monkeypatch, names):
    """Not where some rows are the base's: these are of the base's own product over the whole batch."""
    model, x = two_adapters(Net().double()), torch.randn(4, 80, 6, dtype=torch.double)
    seen: list[int] = []

    def counted(paths, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        seen.append(x.numel() // x.shape[-1])
        return formula.output(paths, x, *args, **kwargs)

    monkeypatch.setattr(glora, "output", counted)
    mixed = model(x, adapter_names=names)
    assert seen == ([160] * 4 if "__base__" not in names else [])  # two adapters on two layers
    for row, name in enumerate(names):
        assert largest_difference(mixed[row], one_by_one(model, name, x)[row]) < 1e-12


def test_the_active_adapter_does_not_matter():
    model, x = two_adapters(Net()), torch.randn(4, 6)
    mixed = model(x, adapter_names=NAMES)
    model.set_adapter("second")
    assert torch.equal(model(x, adapter_names=NAMES), mixed)


def test_the_output_of_the_base_is_not_written_to():
    model, x = two_adapters(Net()), torch.randn(4, 6)
    base, said = model.base_model.model.encoder.base_layer, []
    expected = base(x)
    base.register_forward_hook(lambda module, args, out: said.append(out))
    model(x, adapter_names=NAMES)
    assert torch.equal(said[0], expected)


def test_an_adapter_on_some_layers_only():
    model, x = glora_model(Net().double()), torch.randn(4, 6, dtype=torch.double)
    add(model, "second", target_modules=["head"])
    model.eval()
    mixed = model(x, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        assert largest_difference(mixed[row], one_by_one(model, name, x)[row]) < 1e-12


def test_mixed_batches_keep_the_dtype_and_take_gradients_of_the_input():
    model, x = two_adapters(Net().bfloat16()), torch.randn(4, 6).bfloat16().requires_grad_()
    out = model(x, adapter_names=NAMES)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("active", ["default", "second"])
@pytest.mark.parametrize("second_saves_the_head", [True, False])
def test_modules_to_save(second_saves_the_head, active):
    model, x = glora_model(Net().double(), modules_to_save=["head"]), torch.randn(4, 6, dtype=torch.double)
    add(model, "second", modules_to_save=["head"] if second_saves_the_head else None)
    model.eval()
    head = model.base_model.model.head
    for name in head.modules_to_save:
        nn.init.normal_(head.modules_to_save[name].weight)
    model.set_adapter(active)
    mixed = model(x, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        assert largest_difference(mixed[row], one_by_one(model, name, x)[row]) < 1e-12, name


GENERATION = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "beams, several returned": {"num_beams": 3, "num_return_sequences": 2},
    "in a generation config": {"generation_config": transformers.GenerationConfig(num_beams=2, max_new_tokens=4)},
    "over a generation config": {
        "num_beams": 1,
        "generation_config": transformers.GenerationConfig(num_beams=2, max_new_tokens=4),
    },
}


@pytest.mark.parametrize("how", GENERATION)
@pytest.mark.parametrize("make, targets", [(gpt2, ["c_attn", "c_fc"]), (t5, ["q", "v", "wi"])])
def test_generation(make, targets, how):
    model = two_adapters(make(), target_modules=targets)
    settings = {"max_new_tokens": 4, "pad_token_id": 2, **GENERATION[how]}
    if "generation_config" in settings:
        settings["generation_config"].pad_token_id = settings.pop("pad_token_id")
        settings["generation_config"].decoder_start_token_id = 0
        settings.pop("max_new_tokens")
    per_row = settings.get("num_return_sequences", 1)
    mixed = model.generate(input_ids=IDS, adapter_names=NAMES, **settings)
    assert len(mixed) == per_row * len(NAMES) and not hooks(model)
    others = model.generate(input_ids=IDS, adapter_names=NAMES[::-1], **settings)
    assert mixed.shape != others.shape or not torch.equal(mixed, others)
    for row, name in enumerate(NAMES):
        if name == "__base__":
            with model.disable_adapter():
                alone = model.generate(input_ids=IDS, **settings)
        else:
            model.set_adapter(name)
            alone = model.generate(input_ids=IDS, **settings)
        mine, wanted = (out[row * per_row : (row + 1) * per_row] for out in (mixed, alone))
        width = min(mine.shape[1], wanted.shape[1])  # a batch is padded to its longest row
        assert torch.equal(mine[:, :width], wanted[:, :width]), name


def test_sampling_several_sequences():
    model = two_adapters(gpt2(), target_modules=["c_attn"])
    settings = {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 4, "pad_token_id": 2}
    torch.manual_seed(0)
    mixed = model.generate(input_ids=IDS, adapter_names=["second"] * 4, **settings)
    model.set_adapter("second")
    torch.manual_seed(0)
    assert torch.equal(mixed, model.generate(input_ids=IDS, **settings))


def test_a_generation_config_given_by_position():
    model = two_adapters(gpt2(), target_modules=["c_attn"])
    config = transformers.GenerationConfig(num_beams=2, max_new_tokens=4, pad_token_id=2)
    by_name = model.generate(IDS, generation_config=config, adapter_names=NAMES)
    assert torch.equal(model.generate(IDS, config, adapter_names=NAMES), by_name)


REFUSED = {
    "unknown adapter": (["nobody", *NAMES[1:]], "non-existing adapter.*nobody"),
    "too few names": (NAMES[:3], "got 3 and 4"),
    "too many names": ([*NAMES, "default"], "got 5 and 4"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_bad_names_are_refused_and_no_hook_stays(why):
    names, message = REFUSED[why]
    model, x = two_adapters(Net()), torch.randn(4, 6)
    expected = model(x)
    with pytest.raises(ValueError, match=message):
        model(x, adapter_names=names)
    assert not hooks(model) and torch.equal(model(x), expected)


def test_training_mode_is_refused():
    model = two_adapters(Net()).train()
    with pytest.raises(ValueError, match="training mode"):
        model(torch.randn(4, 6), adapter_names=NAMES)
    assert not hooks(model)


def test_merged_adapters_are_refused():
    model = two_adapters(Net())
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        model(torch.randn(4, 6), adapter_names=NAMES)
    assert not hooks(model)


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would take for itself."""


@pytest.mark.parametrize("error", [RuntimeError, Stop])
def test_no_hook_outlives_an_error_in_forward(error):
    model, x = two_adapters(Net()), torch.randn(4, 6)
    expected = model(x)

    def fail(*_):
        raise error("from inside")

    handle = model.base_model.model.decoder.register_forward_hook(fail)
    with pytest.raises(error, match="from inside"):
        model(x, adapter_names=NAMES)
    handle.remove()
    assert not hooks(model) and torch.equal(model(x), expected)


def test_disabled_adapters_give_the_base_to_every_row():
    net, x = Net(), torch.randn(4, 6)
    expected = net(x)
    model = two_adapters(net)
    with model.disable_adapter():
        assert torch.equal(model(x, adapter_names=NAMES), expected)
