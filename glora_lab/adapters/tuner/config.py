"""What the configurations of all methods share: PEFT's settings with their checks, and on disk a version and no
setting that goes unread.

`adapter_config.json` of ours says `"peft_type": "GLORA_LAB"` or `"GRALORA_LAB"` and `"glora_lab_version": 1`. Stock
PEFT does not know these types and refuses the file, which is meant: it would drop the settings that it does not
have. What it can express goes to it by `export_peft`. The version is a field, so that it is checked by whichever
class the file is read through. A class derived from ours may have fields of its own, and the file says which
(`glora_lab_derived`): without them the adapter computes the same, so that any reader may leave them out.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from peft import PeftConfig, TaskType, mapping
from peft.utils import CONFIG_NAME
from torch import nn

from glora_lab import arguments
from glora_lab.adapters.base.frozen import features, lead
from glora_lab.adapters.base.parameter import ParameterAsLayer
from glora_lab.adapters.files import read_config
from glora_lab.arguments import check_positive_int, check_positive_number, refuse
from glora_lab.folders import folder_named, replacing
from glora_lab.wording import few, shown, within

from .targets import pattern_key

VERSION = 1
DERIVED = "glora_lab_derived"
UPDATE = "update glora_lab (`pip install -U glora-lab`)"
POSITIVE = "should be a positive integer value"  # in PEFT's words

Config = TypeVar("Config", bound="LabConfig")


@dataclass
class LabConfig(PeftConfig):
    """Settings that every method has; a subclass adds its own, what they put on a layer (`plan`), and their checks.

    It is the base of GloraConfig, GraloraConfig and DeltaConfig, and none of them itself. Beside these it has PEFT's
    own `task_type`, `inference_mode`, …, as PEFT documents them. All are checked when it is made, and again before a
    model is touched.

    Attributes:
        r: rank.
        target_modules: names (or one regular expression) of the layers to adapt; "all-linear" for all of them; None for
            PEFT's defaults for the architecture.
        bias: which biases of the base train as well: "none", "all", or those of adapted layers ("glora_only").
        modules_to_save: further modules to train whole and save beside the adapter.
        init_weights: True starts as a no-op, False from small random values.
        alpha: low-rank products are multiplied by alpha over their rank; None leaves them as they are.
        use_rslora: whether alpha is taken over the root of the rank (rsLoRA, arXiv 2312.03732).
        rank_pattern: module pattern → rank of the layers it matches.
        alpha_pattern: module pattern → alpha of the layers it matches.
        exclude_modules: names (or one regular expression) of layers to leave alone.
        layers_to_transform: indices of the layers to adapt, as in PEFT; None for all.
        layers_pattern: names of the lists that these indices count in, as in PEFT.
        target_parameters: names, or their ends, of parameters to adapt that are no layer's weight: most of all the
            experts of a mixture of experts, "experts.gate_up_proj". Each expert has an adapter of its own, with its
            number as the first axis of every tensor. An empty list says that experts are meant to stay as they are.
        glora_lab_version: of the file's form; there is one, 1.
        glora_lab_stamp: tells which tensors a saved configuration belongs to; None but in a file.

    Raises:
        ValueError: for a bad setting, with its name, its value and the rule.
    """

    method: ClassVar[str]  # in prose: "GLoRA"
    lab_type: ClassVar[str]
    stock_class: ClassVar[type[PeftConfig] | None] = None  # PEFT's own of the same method
    prefix: ClassVar[str]  # of its tensors' names, and of the settings that PEFT names after a method: "glora_"
    # the method's own settings by module pattern → the check of one: name, value
    own_patterns: ClassVar[Mapping[str, Callable[[str, Any], None]]] = {}

    glora_lab_stamp: str | None = field(default=None, kw_only=True, compare=False, repr=False)  # see files.py
    glora_lab_version: int = field(default=VERSION, kw_only=True)  # the first checkpoints had none: they are 1
    r: int = 8
    target_modules: list[str] | str | None = None
    bias: str = "none"
    modules_to_save: list[str] | None = None
    init_weights: bool = True
    alpha: float | None = None
    use_rslora: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    target_parameters: list[str] | None = None

    def __post_init__(self) -> None:
        if self.task_type is not None and self.task_type not in list(TaskType):  # in PEFT's words, which grow with it
            raise ValueError(
                f"Invalid task type: {shown(self.task_type)}. Must be one of the following task types: "
                f"{', '.join(TaskType)}."
            )
        for name in ("base_model_name_or_path", "revision", "peft_version"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise refuse(name, value, "must be a name, or None")
        names = self.auto_mapping
        if names is not None and not (isinstance(names, Mapping) and all(isinstance(n, str) for n in names.values())):
            raise refuse("auto_mapping", names, "must be a dict of names, or None")
        super().__post_init__()
        _check_version(self.glora_lab_version)
        self.glora_lab_version, self.glora_lab_stamp = VERSION, None  # of files, not of settings
        self.peft_type = self.lab_type
        self.validate()
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            setattr(self, name, set(value) if isinstance(value, list | tuple) else value)

    def validate(self) -> None:
        """Check every setting, again before a model is touched, for fields can be assigned after construction.

        Raises:
            ValueError: for a bad one, with its name, its value and the rule.
        """
        check_positive_int("r", self.r, POSITIVE)
        arguments.check_choice("bias", self.bias, ("none", "all", f"{self.prefix}only"))
        for flag in ("init_weights", "use_rslora"):
            arguments.check_flag(flag, getattr(self, flag))
        if self.alpha is not None or type(self).alpha is not None:
            check_positive_number("alpha", self.alpha)
        elif self.use_rslora and not self.alpha_pattern:
            raise refuse("use_rslora", True, "scales by alpha/√r, so `alpha` must be set too")
        arguments.check_probability(f"{self.prefix}dropout", self.dropout)
        arguments.check_names("target_modules", self.target_modules)
        arguments.check_names("exclude_modules", self.exclude_modules)
        arguments.check_names("modules_to_save", self.modules_to_save, regex=False)
        arguments.check_layers(self)
        arguments.check_parameters(self.target_parameters, f"{self.prefix}dropout", self.dropout)
        patterns = {"rank_pattern": check_positive_int, "alpha_pattern": check_positive_number, **self.own_patterns}
        for name, check in patterns.items():
            for key, value in arguments.check_pattern(name, getattr(self, name)).items():
                check(f"{name}[{key!r}]", value)

    @property
    def dropout(self) -> float:
        """On the input of the adapter while training, under PEFT's name for it, as `glora_dropout`."""
        return getattr(self, f"{self.prefix}dropout", 0.0)

    def on_layer(self, layer: str, pattern: str, otherwise: Any) -> Any:
        """What the setting `pattern` says of the layer of that name, by the first of its keys that matches."""
        values = getattr(self, pattern)
        return values.get(pattern_key(values, layer), otherwise)

    def scaling(self, layer: str, rank: int) -> float:
        """Of the low-rank products on that layer; 1 without an `alpha`."""
        alpha = self.on_layer(layer, "alpha_pattern", self.alpha)
        return 1.0 if alpha is None else float(alpha / (math.sqrt(rank) if self.use_rslora else rank))

    def plan(
        self,
        layer: str,
        *,
        in_features: int,
        out_features: int,
        has_bias: bool,
        lead: tuple[int, ...] | None = None,
    ) -> Any:
        """What this configuration puts on the layer of that name, or on the parameter, whose matrices are behind the
        axes `lead`: the patterns applied. Its `tensors()` are what a file must have of it, name → shape."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it puts on a layer")

    def plan_for(self, name: str, layer: nn.Module | ParameterAsLayer) -> Any:
        """The `plan` for a layer, or a parameter, of the base."""
        in_features, out_features = features(layer)
        sizes = {"in_features": in_features, "out_features": out_features}
        return self.plan(name, **sizes, has_bias=getattr(layer, "bias", None) is not None, lead=lead(layer))

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As PEFT's, with the old file whole until the new one is, with `~` for your home (PEFT would make a folder of
        that name), and with the keys of patterns in their order: PEFT sorts them, and then another one may be the
        first that matches a layer. ValueError for what names no folder, OSError where it cannot be written."""
        place = folder_named("save_directory", save_directory)
        if os.path.isfile(place):
            raise refuse("save_directory", str(save_directory), "must be a folder, and is a file")
        with replacing(place) as folder:
            super().save_pretrained(str(folder), **kwargs)
            file = folder / CONFIG_NAME
            written = json.loads(file.read_text(encoding="utf-8"))
            patterns = [name for name in written if name.endswith("_pattern") and isinstance(written[name], dict)]
            written |= {name: getattr(self, name) for name in patterns}
            if derived := sorted({f.name for f in fields(self)} - {f.name for f in fields(self.of_this_library())}):
                written[DERIVED] = derived
            file.write_text(json.dumps(written, indent=2), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls: type[Config], pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> Config:
        """As PEFT's, with `~` for your home; ValueError for what names no folder, or a file that is damaged."""
        folder = folder_named("pretrained_model_name_or_path", pretrained_model_name_or_path)
        read: Config = super().from_pretrained(folder, subfolder, **kwargs)
        return read

    @classmethod
    def from_json_file(cls, path_json_file: str, **kwargs: Any) -> dict[str, Any]:
        """As PEFT's, with whatever may be wrong with the file said in a sentence, a ValueError."""
        content = read_config(Path(path_json_file))
        kind = content.get("peft_type", cls.lab_type)
        if not isinstance(kind, str) or kind not in mapping.PEFT_TYPE_TO_CONFIG_MAPPING:
            raise refuse("peft_type", kind, f"is no type of adapter that PEFT or glora_lab knows, in {CONFIG_NAME}")
        if content.pop("runtime_config", None) is not None:
            warnings.warn("`runtime_config` in a file is not read: it is of one run.", stacklevel=2)
        return content

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """A checkpoint of ours, or a stock one, is read as ours: PEFT would follow its type back to the stock class.

        Raises:
            ValueError: for a newer version, or a setting in use that is not known here.
        """
        written_by = kwargs.get("peft_type", cls.lab_type)
        if written_by not in (cls.lab_type, cls.stock_type()):
            return super().check_kwargs(**kwargs)
        known, notes = cls.sort_out(kwargs)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return super().check_kwargs(**known)

    @classmethod
    def sort_out(cls: type[LabConfig], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The settings of a file of ours, or of stock PEFT's, and what is to be said of those that are left out.

        A newer version of either may have settings that are not known here: one in use is refused, and an idle one
        (None, False, empty) changes nothing.

        Raises:
            ValueError: for a newer version, or a setting in use that is not known here.
        """
        values = dict(values)
        ours = values.pop("peft_type", cls.lab_type) == cls.lab_type
        if ours:
            _check_version(values.get("glora_lab_version", VERSION))  # first, for it explains what is unknown
        names = {f.name for f in fields(cls)}
        derived = _derived(values.pop(DERIVED, None)) - names if ours else set()
        unknown = {name: value for name, value in values.items() if name not in names}
        if in_use := {name: value for name, value in unknown.items() if value and name not in derived}:
            whose = f"{CONFIG_NAME} has settings that" if ours else "PEFT's configuration sets what"
            raise ValueError(within(f"{whose} this glora_lab does not know: {_written(in_use)}; {UPDATE}"))
        idle = few(sorted(unknown.keys() - derived))
        notes = [f"Settings that are not known here, and not in use, are ignored: {idle}."] if idle else []
        if left := {name: unknown[name] for name in unknown.keys() & derived}:
            whose = "of a configuration class of one's own, which"
            notes.append(f"Settings {whose} {cls.__name__} does not have, are ignored: {_written(left)}.")
        return {name: value for name, value in values.items() if name in names}, notes

    @classmethod
    def from_stock(cls: type[Config], stock: PeftConfig) -> Config:
        """The same settings, as PEFT's own configuration has them."""
        values = {f.name: getattr(stock, f.name) for f in fields(stock) if f.name != "peft_type"}
        known, notes = cls.sort_out({**values, "peft_type": cls.stock_type()})
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return cls(**known)

    @classmethod
    def stock_type(cls) -> str | None:
        """PEFT's own type of the method, "GLORA"; None where PEFT has none."""
        return cls.stock_class.__name__.removesuffix("Config").upper() if cls.stock_class else None

    @classmethod
    def of_this_library(cls) -> type[LabConfig]:
        """This class, or the one of ours that it is derived from."""
        return next(one for one in cls.__mro__ if "lab_type" in vars(one))


def _derived(names: Any) -> set[str]:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise refuse(DERIVED, names, f"must be a list of names: {CONFIG_NAME} is damaged")
    return set(names or ())


def _written(values: Mapping[str, Any]) -> str:
    return few([f"{name}={shown(value)}" for name, value in sorted(values.items())])


def _check_version(version: Any) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise refuse("glora_lab_version", version, f"must be an integer from 1: {CONFIG_NAME} is damaged")
    if version > VERSION:
        raise refuse("glora_lab_version", version, f"is newer than this glora_lab reads (up to {VERSION}): {UPDATE}")
