"""What our two configurations share on disk: a version, and no setting that goes unread.

`adapter_config.json` of ours says `"peft_type": "GLORA_LAB"` or `"GRALORA_LAB"` and `"glora_lab_version": 1`. Stock
PEFT does not know these types and refuses the file, which is meant: it would drop the settings that it does not
have. What it can express goes to it by `export_peft`. The version is a field, so that it is checked by whichever
class the file is read through.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from peft import PeftConfig
from peft.utils import CONFIG_NAME

from glora_lab.folders import folder_named, replacing

from .settings import refuse

VERSION = 1
UPDATE = "update glora_lab (`pip install -U glora-lab`)"

Config = TypeVar("Config", bound="LabConfig")


@dataclass
class LabConfig(PeftConfig):
    """Base of GloraConfig and GraloraConfig."""

    lab_type: ClassVar[str]
    stock_class: ClassVar[type[PeftConfig]]

    glora_lab_stamp: str | None = field(default=None, kw_only=True, compare=False, repr=False)  # see stamp.py
    glora_lab_version: int = field(default=VERSION, kw_only=True)  # the first checkpoints had none: they are 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_version(self.glora_lab_version)
        self.glora_lab_version, self.glora_lab_stamp = VERSION, None  # of files, not of settings

    def validate(self) -> None:
        """Check every setting."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it allows")

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As PEFT's, with the old file whole until the new one is, with `~` for your home (PEFT would make a folder of
        that name), and with the keys of patterns in their order: PEFT sorts them, and then another one may be the
        first that matches a layer."""
        place = folder_named("save_directory", save_directory)
        if os.path.isfile(place):
            raise refuse("save_directory", str(save_directory), "must be a folder, and is a file")
        with replacing(place) as folder:
            super().save_pretrained(str(folder), **kwargs)
            file = folder / CONFIG_NAME
            written = json.loads(file.read_text(encoding="utf-8"))
            patterns = [name for name in written if name.endswith("_pattern") and isinstance(written[name], dict)]
            written |= {name: getattr(self, name) for name in patterns}
            file.write_text(json.dumps(written, indent=2), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls: type[Config], pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> Config:
        """As PEFT's, with `~` for your home."""
        folder = folder_named("pretrained_model_name_or_path", pretrained_model_name_or_path)
        read: Config = super().from_pretrained(folder, subfolder, **kwargs)
        return read

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """A checkpoint of ours, or a stock one, is read as ours: PEFT would follow its type back to the stock class.

        Raises:
            ValueError: for a newer version, or a setting that is not known here.
        """
        written_by = kwargs.get("peft_type")
        if written_by == cls.lab_type:
            _check_version(kwargs.get("glora_lab_version", VERSION))  # first, for it explains what is unknown
            unknown = cls._unknown(kwargs)
            if unknown:
                raise ValueError(f"{CONFIG_NAME} has settings that this glora_lab does not know: {unknown}; {UPDATE}")
        elif written_by == cls.stock_class.__name__.removesuffix("Config").upper():
            kwargs = cls._known(kwargs)
        else:
            return super().check_kwargs(**kwargs)
        kwargs.pop("peft_type")
        return super().check_kwargs(**kwargs)

    @classmethod
    def from_stock(cls: type[Config], stock: PeftConfig) -> Config:
        """The same settings, as PEFT's own configuration has them."""
        values = {f.name: getattr(stock, f.name) for f in fields(stock) if f.name != "peft_type"}
        return cls(**cls._known(values))

    @classmethod
    def _unknown(cls, values: dict[str, Any]) -> str:
        names = {f.name for f in fields(cls)}
        return ", ".join(f"{name}={value!r}" for name, value in sorted(values.items()) if name not in names)

    @classmethod
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings of a PEFT that is newer than this package: one that is in use is refused, an idle one let go."""
        in_use = cls._unknown({name: value for name, value in values.items() if value})
        if in_use:
            raise ValueError(f"PEFT's configuration sets what this glora_lab does not know: {in_use}; {UPDATE}")
        names = {f.name for f in fields(cls)}
        idle = sorted(values.keys() - names)
        if idle:
            warnings.warn(f"Settings that are not known here, and not in use, are ignored: {idle}.", stacklevel=2)
        return {name: value for name, value in values.items() if name in names}


def _check_version(version: Any) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise refuse("glora_lab_version", version, f"must be an integer from 1: {CONFIG_NAME} is damaged")
    if version > VERSION:
        raise refuse("glora_lab_version", version, f"is newer than this glora_lab reads (up to {VERSION}): {UPDATE}")
