"""Small data of a reader's own: sentences with their words, and models and a tokenizer of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

WORDS = ("good", "bad", "the", "film", "was", "is", "very", "quite", "not", "so")
PAIRS = [(f"{start} film {verb} {how} {word}", label)
         for start in ("the", "so") for verb in ("was", "is") for how in ("very", "quite", "")
         for label, word in enumerate(("bad", "good"))]  # fmt: skip
PARTS = (PAIRS[:12], PAIRS[12:18], PAIRS[18:])


def tokenizer(pad: str | None = "[PAD]") -> Any:
    vocabulary = {word: n for n, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token=pad)


def bert(labels: int = 2, **settings: Any) -> transformers.PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=12, num_labels=labels, **settings,
    )  # fmt: skip
    return seeded(transformers.BertForSequenceClassification, config)


def vit(labels: int = 3, channels: int = 3, size: int = 12) -> transformers.PreTrainedModel:
    config = transformers.ViTConfig(
        image_size=size, patch_size=4, num_channels=channels, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=24, num_labels=labels,
    )  # fmt: skip
    return seeded(transformers.ViTForImageClassification, config)


def llama(vocabulary: int = 32) -> transformers.PreTrainedModel:
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=48, pad_token_id=0, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    return seeded(transformers.LlamaForCausalLM, config)


def seeded(kind: type, config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config).eval()


def images(n: int, seed: int, channels: int = 3, size: int = 12, labels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand((n, channels, size, size), generator=generator)
    return pixels, torch.arange(n) % labels


class Table:
    """What of a `datasets` dataset is used: columns by name, rows by number, and the names of labels."""

    def __init__(self, columns: dict[str, Sequence[Any]], names: list[str] | None = None) -> None:
        self._columns, self.column_names = columns, list(columns)
        self.features = {"label": type("ClassLabel", (), {"names": names})} if names else {}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, key: str | int) -> Any:
        return self._columns[key] if isinstance(key, str) else {name: v[key] for name, v in self._columns.items()}


def table(pairs: Sequence[tuple[str, int]], names: list[str] | None = None) -> Table:
    return Table({"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}, names)
