"""Loading pretrained models: those that ship with the package, and any other that transformers can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from glora_lab.folders import folder_named

from .architectures import model_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# name → folder beside this file
SHIPPED: Mapping[str, str] = MappingProxyType({"digits-vit": "digits_vit", "bytes-llama": "bytes_llama"})
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load_model(name_or_path: str | os.PathLike[str]) -> PreTrainedModel:
    """A pretrained model in eval mode, with every parameter still requiring a gradient.

    `name_or_path` is a shipped model ("digits-vit" or "bytes-llama": no network, nothing printed), a directory that
    `save_pretrained` wrote (`~` for your home), or a name on the hub. A hub name without an owner ("gpt2") is looked up
    in the local cache only, so that a misspelt shipped name never waits for the network. The class is the one that the
    model's configuration names under `architectures`. Raises ValueError where none of these fits.
    """
    name = os.fspath(name_or_path)
    if name in SHIPPED:
        with resources.as_file(resources.files("glora_lab.models") / SHIPPED[name]) as folder:
            model = _read(str(folder), local=True)
        # PEFT writes where the base came from into every adapter, and asks the hub for it: not this folder
        model.name_or_path, model.config.name_or_path = "", name
        return model
    if name and (folder := Path(folder_named("name_or_path", name))).is_dir():
        return _read_directory(name, folder)
    looks_like_a_path = isinstance(name_or_path, os.PathLike) or name[:1] in (".", "~", os.sep)
    if looks_like_a_path or not HUB_NAME.fullmatch(name):
        raise ValueError(f"`name_or_path` (={name!r}) is no directory; {_valid()}")
    try:
        return _read(name, local="/" not in name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`name_or_path` (={name!r}) is no shipped model, no directory here and could not be had from "
            f"the hub; {_valid()}"
        ) from error


def _valid() -> str:
    return (
        f"it must be a shipped model ({', '.join(SHIPPED)}), a directory that `save_pretrained` wrote, or a "
        "hub name as owner/name (a bare name only if it is in the local cache)"
    )


def _read_directory(name: str, folder: Path) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        hint = (
            "it holds an adapter: load its base model, then load_adapter(model, path)"
            if (folder / "adapter_config.json").is_file()
            else _valid()
        )
        raise ValueError(f"`name_or_path` (={name!r}) holds no model (no config.json); {hint}")
    try:
        return _read(str(folder), local=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"`name_or_path` (={name!r}) cannot be read as a model: {error}") from error


def _read(name: str, *, local: bool) -> PreTrainedModel:
    from transformers import AutoConfig

    with _no_progress_bar():
        config = AutoConfig.from_pretrained(name, local_files_only=local)
        model: PreTrainedModel = model_class(config).from_pretrained(name, config=config, local_files_only=local)
    return model.eval()


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
