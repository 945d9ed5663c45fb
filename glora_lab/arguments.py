"""Checks at the edge, shared by the configurations: each failure is one ValueError with name, value and rule."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from numbers import Integral
from typing import Any

from glora_lab.regex_work import repeats, worst
from glora_lab.wording import brief, shown, within

# PEFT's shorthand for every linear layer; the only target string that is not a regular expression
ALL_LINEAR = "all-linear"

# what PEFT matches with names: a key of a pattern, an entry of `modules_to_save`, one of `layers_pattern`
KEY, SAVED, LAYERS = r"(.*\.)?({})$", r"(^|.*\.){}($|\..*)", r"(?:^|.*?\.){}\.(?P<idx>\d+)\."

# what is asked for most, and what makes one
A_MODEL = "must be a model (torch.nn.Module), as load_model gives one by its name"
A_CONFIG = "must be a configuration of PEFT, as GloraConfig is"

PLAIN = re.compile(r"[\w.-]+")  # names as they are: nothing to compile
# a file's patterns are refused that would take longer: real ones stay far below
MOST_NAMES = 10_000
LONGEST, LONGEST_REPEATING = 300_000, 20_000  # characters: of names side by side, and with repetitions
LENGTH = 128  # of the longest names
MOST_STEPS = 2e8  # about a second


def refuse(name: str, value: Any, rule: str) -> ValueError:
    """The one wording of a refused setting."""
    return ValueError(within(f"`{within(name, 200)}` (={shown(value)}) {rule}"))


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], rule: str) -> None:
    """Refuse what is of another class; `rule` says what it must be, and what makes one."""
    if not isinstance(value, kind):
        raise refuse(name, brief(value), rule)


def check_is(name: str, value: Any, kind: type | tuple[type, ...], rule: str) -> None:
    """As `check_kind`, for what may be left out: None is."""
    if value is not None:
        check_kind(name, value, kind, rule)


def check_text(name: str, value: Any) -> None:
    check_kind(name, value, str, "must be a text")


def check_function(name: str, value: Any, of: str) -> None:
    """What is called, if it is given: "a function of outputs and targets"."""
    if value is not None and not callable(value):
        raise refuse(name, value, f"must be a function of {of}")


def as_peft_says(name: str, value: Any, words: str, refused: ValueError) -> ValueError:
    """PEFT's own sentence, which its users look for, and ours behind it."""
    return ValueError(within(f"`{name}` {words} but the value passed is {shown(value)}: {refused}"))


def check_positive_int(name: str, value: Any, words: str = "") -> None:
    """`words`: what PEFT says of it, "should be …"."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        refused = refuse(name, value, "must be an integer above 0")
        raise as_peft_says(name, value, words, refused) if words else refused


def check_count(name: str, value: Any, words: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        refused = refuse(name, value, "must be an integer, at least 0")
        raise as_peft_says(name, value, words, refused) if words else refused


def check_counts(name: str, values: Any) -> tuple[int, ...]:
    """Integers above 0, one or more; given back, for what is given may be an iterator."""
    found = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else ()
    if not found or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in found):
        raise refuse(name, found or values, "must be a list of integers above 0")
    return found


def check_seed(value: Any, name: str = "seed") -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**63:
        raise refuse(name, value, "must be an integer from 0 to 2**63 - 1")


def check_positive_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= sys.float_info.max:  # an int may be larger than any float
        raise refuse(name, value, "must be a finite number above 0")


def check_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max:
        raise refuse(name, value, "must be a finite number")


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise refuse(name, value, "must be True or False")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise refuse(name, value, f"must be one of {', '.join(map(repr, choices))}")


def check_key(name: str, value: Any, known: Collection[str], rule: str) -> None:
    """A name of what is there: "must be a task"."""
    if not isinstance(value, str) or value not in known:
        raise refuse(name, value, f"{rule}: {', '.join(known)}")


def check_probability(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise refuse(name, value, "must be a probability: at least 0 and below 1")


def check_regex(name: str, value: str, larger: str = "{}") -> None:
    """`larger` is the larger expression that PEFT makes of it: "(?i)x" stands alone, and not in that."""
    if PLAIN.fullmatch(value):
        return
    longest = LONGEST_REPEATING if repeats(value) else LONGEST
    if len(value) > longest:
        kind = "regular expression with repetitions" if repeats(value) else "regular expression"
        raise refuse(name, value, f"must be shorter: a {kind} may have {longest:,} characters")
    for expression, where in ((value, ""), (larger.format(value), " inside a larger one")):
        try:
            if not where:
                _check_steps(name, value)
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            why = f"{getattr(error, 'msg', error)} in {shown(expression)}" if where else error
            raise refuse(name, value, f"must be a regular expression{where}, but {why}") from error


def _check_steps(name: str, value: str) -> None:
    if worst(value, LENGTH) > MOST_STEPS:
        rule = (
            f"must be a regular expression that is matched in time: a name of {LENGTH} characters may take more than "
            f"{MOST_STEPS:,.0f} steps, since repetitions (*, +, ?, {{}}) in it can share the same text. Repeat what "
            r"cannot run into what follows, e.g. ([^.]+\.)* in place of (.*\.)*"
        )
        raise refuse(name, value, rule)


def check_count_of(name: str, value: Sized) -> None:
    if len(value) > MOST_NAMES:
        raise refuse(name, value, f"must have at most {MOST_NAMES:,} entries, and has {len(value):,}")


def check_names(name: str, value: Any, *, regex: bool = True) -> None:
    """None, a list (or set) of module names, or, where `regex`, one regular expression."""
    if value is None:
        return
    if isinstance(value, str):
        if regex and value.lower() != ALL_LINEAR:
            check_regex(name, value)
        elif not regex:
            raise refuse(name, value, "must be a list of module names")
        return
    if not isinstance(value, list | tuple | set) or not all(isinstance(v, str) and v for v in value):
        raise refuse(name, value, "must be a list of module names" + (" or a regular expression" if regex else ""))
    check_count_of(name, value)
    if name == "modules_to_save":  # PEFT matches these as patterns as well
        for one in value:
            check_regex(name, one, SAVED)


def check_pattern(name: str, value: Any) -> Mapping[str, Any]:
    """A dict whose keys are module patterns (regular expressions on the end of a module name)."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise refuse(name, value, "must be a dict from module pattern to setting")
    check_count_of(name, value)
    if sum(len(key) for key in value if repeats(key)) > LONGEST:
        raise refuse(name, value, f"must have keys of at most {LONGEST:,} characters together")
    for key in value:
        check_regex(f"{name} key", key, KEY)
    return value


def check_layers(config: Any) -> None:
    """`layers_to_transform` and `layers_pattern`, which PEFT reads only beside a list of target modules."""
    layers, pattern = config.layers_to_transform, config.layers_pattern
    if layers is not None:
        indices = [layers] if isinstance(layers, int) else layers
        whole = isinstance(indices, list | tuple) and all(type(i) is int and i >= 0 for i in indices)
        if isinstance(layers, bool) or not whole:
            raise refuse("layers_to_transform", layers, "must be a layer index or a list of them, counted from 0")
        if isinstance(config.target_modules, str):
            raise refuse("layers_to_transform", layers, "cannot be used when `target_modules` is a str.")
    if pattern is None:
        return
    names = [pattern] if isinstance(pattern, str) else pattern
    if not isinstance(names, list | tuple | set) or not all(isinstance(name, str) for name in names):
        raise refuse("layers_pattern", pattern, "must be a name or a list of names of the lists that hold the layers")
    if names and layers is None:
        raise refuse("layers_pattern", pattern, "needs `layers_to_transform` to be set as well")
    check_count_of("layers_pattern", names)
    for name in names:
        check_regex("layers_pattern", name, LAYERS)


def check_parameters(value: Any, dropout: str, probability: float) -> None:
    """`target_parameters`, and the dropout that a configuration has: it acts on what a layer is given."""
    check_names("target_parameters", value, regex=False)
    if value and probability:
        raise refuse(dropout, probability, "must be 0 with `target_parameters`: a parameter has no input of its own")


def some(layers: Sequence[str], most: int = 6) -> str:
    """Names of layers for a sentence: how many, and the first of them."""
    more = f" and {len(layers) - most} more" if len(layers) > most else ""
    return f"{len(layers)} layer{'s' * (len(layers) > 1)} ({', '.join(layers[:most])}{more})"
