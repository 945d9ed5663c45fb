"""Layers below all that trains are asked once: which those are, that nothing else changes, and what it spares."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.data import Part, Task, load_task
from glora_lab.models import load_model
from glora_lab.training import evaluate, fit
from glora_lab.training import frozen_prefix as kept_layers
from glora_lab.training.frozen_prefix import FrozenPrefix

LAYERS, VOCABULARY, HEADS = 4, 40, ["classifier"]


def bert(dropout: float = 0.0) -> BertForSequenceClassification:
    sizes = {"hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, num_labels=3, **sizes
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config).eval()


def texts(count: int = 40) -> Task:
    """Texts of 3 to 12 tokens; the first token is the label."""
    draws = torch.Generator().manual_seed(1)

    def part() -> Part:
        lengths = torch.randint(3, 13, (count,), generator=draws)
        mask = (torch.arange(12) < lengths[:, None]).long()
        ids = torch.randint(1, VOCABULARY, (count, 12), generator=draws) * mask
        return Part({"input_ids": ids, "attention_mask": mask, "labels": ids[:, 0] % 3})

    return Task("texts", "", "", part(), part(), part(), num_classes=3)


def adapted(model: nn.Module, config: type, layers: list[int], **settings: object) -> nn.Module:
    targets = {"target_modules": ["query", "output.dense"], "layers_to_transform": layers}
    torch.manual_seed(1)
    return get_peft_model(model, config(r=4, modules_to_save=HEADS, **targets, **settings))


def counted(model: nn.Module) -> list[int]:
    """How often each layer really runs: the attention inside is called."""
    runs = [0] * LAYERS

    def count(place: int) -> Callable[..., None]:
        def once(*_: object) -> None:
            runs[place] += 1

        return once

    for place, layer in enumerate(model.get_submodule("base_model.model.bert.encoder.layer")):  # type: ignore[arg-type]
        layer.attention.register_forward_hook(count(place))
    return runs


@pytest.mark.parametrize("lowest", range(LAYERS))
@pytest.mark.parametrize("config", [LoraConfig, GloraConfig, GraloraConfig])
def test_what_is_below_the_lowest_adapter_is_kept(config: type, lowest: int) -> None:
    settings = {"gralora_k": 2} if config is GraloraConfig else {}
    model = adapted(bert(), config, [*range(lowest, LAYERS)], **settings)
    prefix = FrozenPrefix(model, texts().train.rows(slice(0, 2)))
    assert prefix.layers == lowest and len(prefix) == 0
    assert prefix.stack == ("base_model.model.bert.encoder.layer" if lowest else "")


def test_a_head_alone_keeps_all_layers_and_a_trained_embedding_none() -> None:
    model = bert().requires_grad_(False)
    model.classifier.requires_grad_(True)
    batch = texts().train.rows(slice(0, 2))
    assert FrozenPrefix(model, batch).layers == LAYERS
    model.bert.embeddings.word_embeddings.requires_grad_(True)
    assert FrozenPrefix(model, batch).layers == 0


def losses(keep: bool, config: type = LoraConfig, dropout: float = 0.0) -> list[tuple[float, float]]:
    model = adapted(bert(dropout), config, [2, 3], **({"gralora_k": 2} if config is GraloraConfig else {}))
    run = fit(model, texts(), steps=12, lr=0.01, seed=0, batch_size=8, eval_every=4, keep_frozen=keep)
    return [(step.loss, step.metric) for step in run]


@pytest.mark.parametrize("config", [LoraConfig, GloraConfig, GraloraConfig])
def test_a_run_with_kept_layers_is_the_plain_run_to_rounding(config: type) -> None:
    plain, kept = losses(False, config), losses(True, config)
    torch.testing.assert_close(torch.tensor(kept), torch.tensor(plain), rtol=1e-4, atol=1e-5)
    assert plain[0][0] != plain[-1][0]


def test_with_dropout_the_kept_layers_have_none_and_the_others_do() -> None:
    assert losses(True, dropout=0.3) == losses(True, dropout=0.3)
    assert losses(True, dropout=0.3) != losses(True)


def test_kept_layers_run_once_for_each_example_and_the_others_in_each_step() -> None:
    model, task = adapted(bert(), LoraConfig, [2, 3]), texts(count=16)
    run = fit(
        model, task, steps=8, lr=0.01, seed=0, batch_size=8, eval_every=100, metric=lambda *_: 0.0, keep_frozen=True
    )
    runs = counted(model)
    list(run)
    assert runs[:2] == [2, 2]  # two batches are all there are
    assert runs[2:] == [8 + 2, 8 + 2]
    again = counted(model)
    evaluate(model, task.train)
    assert again == [1] * LAYERS  # afterwards the model is as it was
    assert all("forward" not in vars(module) for module in model.modules())


@pytest.mark.parametrize("filled_to", [12, 20])
def test_an_example_is_known_whatever_it_is_filled_up_with_and_beside_whom(filled_to: int) -> None:
    model, part = adapted(bert(), LoraConfig, [3]), texts().train
    prefix, labels = FrozenPrefix(model, part.rows(slice(0, 2))), torch.tensor([0, 1, 2])

    def asked(rows: list[int], width: int) -> Tensor:
        batch = {n: nn.functional.pad(t, (0, width - t.shape[1])) for n, t in part.inputs.items() if n != "labels"}
        return model(**{n: t[rows] for n, t in batch.items()}, labels=labels[: len(rows)]).logits

    plain = asked([5, 7, 9], filled_to)
    with prefix.used():
        for row in (9, 7, 5):
            asked([row], 12)
        runs = counted(model)
        torch.testing.assert_close(asked([5, 7, 9], filled_to), plain)
        assert runs == [0, 0, 0, 1] and len(prefix) == 3


def test_what_does_not_fit_is_run_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_layers, "MOST_BYTES", -1)
    model, part = adapted(bert(), LoraConfig, [3]), texts().train
    prefix = FrozenPrefix(model, part.rows(slice(0, 2)))
    with prefix.used():
        model(**part.rows(slice(0, 4)))
    assert prefix.layers == 3 and len(prefix) == 0
    assert losses(True) == losses(False)


def test_calls_that_are_about_more_than_examples_go_by() -> None:
    model, part = adapted(bert(), LoraConfig, [3]), texts().train
    prefix, batch = FrozenPrefix(model, part.rows(slice(0, 2))), part.rows(slice(0, 4))
    with prefix.used():
        states = model(**batch, output_hidden_states=True).hidden_states
        assert len(prefix) == 0 and len(states) == LAYERS + 1


def test_images_and_text_that_is_written_on_are_kept_too() -> None:
    vit = load_model("digits-vit").requires_grad_(False)
    vit.classifier.requires_grad_(True)
    runs = []
    for keep in (False, True):
        head = {name: tensor.clone() for name, tensor in vit.classifier.state_dict().items()}
        run = [s.loss for s in fit(vit, load_task("digits-turned"), steps=4, lr=0.01, seed=0, keep_frozen=keep)]
        vit.classifier.load_state_dict(head)
        runs.append(run)
    assert runs[1] == pytest.approx(runs[0], rel=1e-4)
    small = LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2
    )
    model = LlamaForCausalLM(small).requires_grad_(False)
    model.model.layers[2].requires_grad_(True)
    batch = load_task("text").train.rows(slice(0, 3))
    prefix = FrozenPrefix(model, batch)
    assert prefix.layers == 2
    with torch.no_grad():
        plain = model(**batch).loss
        with prefix.used():
            torch.testing.assert_close(model(**batch).loss, plain)
            torch.testing.assert_close(model(**batch).loss, plain)
    assert len(prefix) == 3


class LooksBack(nn.Module):
    """Its head reads what every layer says."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]).requires_grad_(False)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> object:
        every = []
        for layer in self.layers:
            x = layer(x)
            every.append(x)
        logits = self.head(sum(every).mean(1))

        class Answer:
            pass

        answer = Answer()
        answer.logits = logits  # type: ignore[attr-defined]
        return answer


def test_a_model_whose_upper_part_looks_below_the_kept_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="the lower 3 layers of layers cannot be kept: LooksBack answers otherwise"):
        FrozenPrefix(LooksBack(), {"x": torch.randn(2, 5, 4)})


def test_minilm_with_adapters_in_its_last_two_layers_runs_those_alone() -> None:
    model = load_model("minilm", num_labels=8)
    targets = {"target_modules": ["query", "dense"], "layers_pattern": "layer", "layers_to_transform": [4, 5]}
    adapted = get_peft_model(model, LoraConfig(r=4, modules_to_save=HEADS, **targets))
    part = load_task("docstrings").train
    batch = part.rows(slice(0, 6))
    prefix = FrozenPrefix(adapted, part.rows(slice(0, 2)))
    assert prefix.layers == 4
    adapted.train()
    plain = adapted(**batch)
    with prefix.used():
        adapted(**batch)
        kept = adapted(**part.rows(slice(0, 6)))
    assert len(prefix) == 6
    torch.testing.assert_close(kept.logits, plain.logits, rtol=1e-4, atol=1e-5)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    gradients = [torch.autograd.grad(answer.loss, trained) for answer in (plain, kept)]
    assert any(gradient.any() for gradient in gradients[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
