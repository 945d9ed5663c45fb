"""A panel's state as one plain dict, and the panel that a state makes.

Decision: a state is what the reader can set, and what the panel was made with: arguments that JSON can say are in it
(`made`), and of the others, a model of the reader's own, it says what they were (`own`), since only the reader has
them. Nothing that was computed is kept; it is computed again. A folder to write in is neither: a state is sent to
others, whose machine has its own.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, ClassVar, TypeVar

from IPython import get_ipython
from torch import nn

from glora_lab.adapters.base.frozen import features
from glora_lab.arguments import refuse
from glora_lab.training import TrainSession
from glora_lab.training.in_turn import in_turn

from .actions import one_action
from .looking import running_loop
from .settings import Settings, Values, is_plain
from .stage import Stage
from .state_tools import StateTools

VERSION = 1
HEAD = ("panel", "version", "made", "own")
Made = TypeVar("Made", bound="Settable")


class Settable(Stage):
    """What can be set as it was: a subclass names its controls in `_settings`."""

    folder_arguments: ClassVar[tuple[str, ...]] = ()  # of folders to write in, which no state carries
    _made: Values  # arguments that JSON can say
    _own: Values  # and those that it cannot
    _steps: Settings
    _tools: StateTools  # where there is something to set

    @property
    def problem(self) -> str:
        """What the panel says."""
        raise NotImplementedError

    def say(self, problem: Exception | str, about: str | None = None) -> None:
        """Show it."""
        raise NotImplementedError

    def _settings(self) -> Mapping[str, Any]:
        """Name → control (with a trait `value`) of all that a reader can set, in the order in which it is put back."""
        return {}

    @property
    def moves(self) -> Mapping[str, Any]:
        """The one slider that the panel has where no kernel runs, as `sweep` takes it; none by default."""
        return {}

    @property
    def state(self) -> Values:
        """What the reader has set, as a dict that JSON can say; `from_state` makes the same panel of it.

        "panel" and "version"; "made", the arguments that the panel was made with, and "own", those that only the
        reader has, a model say, by class and shape; each setting by its name.
        """
        values = self._steps.values
        own = {name: _described(value, values.get("layer")) for name, value in self._own.items()}
        parts = {"made": self._made, "own": own}
        return {
            "panel": type(self).__name__,
            "version": VERSION,
            **{name: part for name, part in parts.items() if part},
            **values,
        }

    @classmethod
    def from_state(cls: type[Made], state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Made:
        """The panel that has this `state`. A setting that the state does not have is where the panel starts.

        Args:
            state: what `panel.state` gave, here or elsewhere.
            args, kwargs: arguments of the panel, which go before what the state says of them; those of the reader's
                own, a model say, have to be given again. A folder that an older state names is left out: give it here.

        Raises:
            ValueError: naming each key that cannot be, its value and the rule; no panel is left then.
        """
        given = _bound(cls, args, kwargs)
        _check_head(cls, state, given)
        made = {name: value for name, value in state.get("made", {}).items() if not _is_folder(cls, name, value)}
        try:
            panel = cls(**{**made, **given})
        except TypeError as error:
            raise refuse("made", made, f"is not what {cls.__name__} can be made with: {error}") from error
        problems = panel._take(state)
        if problems:
            panel.close()
            _raise_all(cls, problems)
        panel._steps.begin()
        return panel

    @in_turn
    def undo(self) -> None:
        """Back to before the last step: all that one action changed, and no run that is under way."""
        self._steps.undo()

    @in_turn
    def redo(self) -> None:
        """The step that was undone last, again."""
        self._steps.redo()

    @in_turn
    def reset(self) -> None:
        """All settings as the panel began, in one step that can be undone."""
        self._steps.put(self._steps.start)

    def _take(self, state: Mapping[str, Any]) -> list[Exception]:
        """Put the controls where the state has them; what is wrong with it, key by key."""
        values = {name: value for name, value in state.items() if name not in HEAD}
        known = self._settings()
        wrong = {name: f"is no setting of {type(self).__name__}" for name in values if name not in known}
        wrong |= self._steps.put({name: value for name, value in values.items() if name in known})
        problems: list[Exception] = [refuse(name, values[name], why) for name, why in wrong.items()]
        for name, was in state.get("own", {}).items():
            shape = self.state.get("own", {}).get(name, {}).get("layer")
            if shape and was.get("layer", shape) != shape:
                problems.append(refuse(name, was, f"had another layer; that of the one given is {shape}"))
        if problems and self.problem:
            problems.append(ValueError(self.problem))
        return problems

    def _is_made_with(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Note the arguments, the first that is asked: a subclass is called before the class that it calls."""
        if "_made" in vars(self):
            return False
        self._made, self._own = _made_and_own(type(self), _bound(type(self), args, kwargs))
        return True

    def _hear_settings(self) -> None:
        """From now on steps are kept, and there are tools for them."""
        self._loop, self._late = running_loop(), False
        self._steps = Settings(self._settings(), self._stepped)
        if self._steps.values:
            self._tools = StateTools(undo=self.undo, redo=self.redo, reset=self.reset, on_link=self._take_link)
            self.tools.children = (*self._tools.widgets, *self.tools.children)
            self._show_tools()

    def _stepped(self) -> None:
        """A reader set something; where an event loop runs the tools are told once of all that one action set."""
        if self._loop is None or not self._loop.is_running():
            self._show_tools()
        elif not self._late:
            self._late = True
            self._loop.call_soon_threadsafe(self._show_tools)

    @in_turn
    def _show_tools(self) -> None:
        self._late = False
        if self.comm is not None:  # not closed meanwhile
            steps = self._steps
            self._tools.show(self.state, self._code(), can_undo=steps.can_undo, can_redo=steps.can_redo)

    def _code(self) -> str:
        """A cell that makes this panel; what is the reader's own is called as the reader's cells call it."""
        shell = get_ipython()
        names = {} if shell is None else shell.user_ns
        called = {
            argument: next((name for name, one in names.items() if one is value and name[0] != "_"), argument)
            for argument, value in self._own.items()
        }
        name, module = type(self).__name__, type(self).__module__
        begins = f"from glora_lab.panels import {name}\n" if module.startswith("glora_lab.") else ""
        given = "".join(f", {argument}={name}" for argument, name in called.items())
        return f"{begins}{name}.from_state({self.state}{given})"

    @in_turn
    def _take_link(self, text: str) -> None:
        """Show the state that a link brought, as one step; what is wrong with it is said, and nothing moved."""
        before = self._steps.values
        try:
            with one_action(self):
                state = _decoded(text)
                _check_head(type(self), state, self._own)
                problems = self._take(state)
                if problems:
                    self._steps.put(before)
                    _raise_all(type(self), problems)
        except ValueError as refusal:
            self.say(refusal, about="link")


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise refuse("glora_lab", text, f"must be a state as a link has it: {error}") from error


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Name → each argument of a panel."""
    return dict(list(inspect.signature(kind.__init__).parameters.items())[1:])  # type: ignore[misc]


def _bound(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Values:
    """The arguments by name."""
    bound = inspect.signature(kind.__init__).bind_partial(None, *args, **kwargs)  # type: ignore[misc]
    return dict(list(bound.arguments.items())[1:])


def _made_and_own(kind: type[Settable], given: Mapping[str, Any]) -> tuple[Values, Values]:
    """What a panel is made with, as (what JSON can say and is not the default, what it cannot say), by name.

    A session to follow is neither: it is under way or over, and no setting. Nor is a folder to write in.
    """
    parameters = _parameters(kind)
    made, own = {}, {}
    for name, value in given.items():
        value = fspath(value) if isinstance(value, PathLike) else value
        if _is_folder(kind, name, value):
            continue
        if is_plain(value):
            if value != parameters[name].default:
                made[name] = value
        elif not isinstance(value, TrainSession):
            own[name] = value
    return made, own


def _is_folder(kind: type[Settable], name: str, value: object) -> bool:
    """Whether this is a folder to write in; that nothing is written is a setting."""
    return name in kind.folder_arguments and not isinstance(value, bool)


def _described(value: Any, layer: object) -> Values:
    """An argument of the reader's own, by the name of its class, and of a model the shape of the layer as well."""
    says: Values = {"class": type(value).__name__}
    if isinstance(value, nn.Module) and isinstance(layer, str):
        for name, module in value.named_modules():
            if name == layer or name.endswith("." + layer):
                base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
                into, out = features(base)
                return {**says, "layer": [out, into]}
    return says


def _check_head(kind: type, state: object, given: Mapping[str, Any]) -> None:
    """Raises ValueError where this is no state of such a panel, or a newer one, or an argument is not given again."""
    name = kind.__name__
    if not isinstance(state, dict):
        raise refuse("state", state, f"must be a dict, as {name}(…).state gives it")
    problems = []
    if state.get("panel") != name:
        problems.append(refuse("panel", state.get("panel"), f"must be {name!r}, whose `from_state` was called"))
    version = state.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION:
        newer = "; the state is of a newer glora_lab" if isinstance(version, int) and version > VERSION else ""
        problems.append(refuse("version", version, f"must be an integer from 1 to {VERSION}{newer}"))
    for part in ("made", "own"):
        if not isinstance(state.get(part, {}), dict):
            problems.append(refuse(part, state[part], "must be a dict by the names of arguments"))
    if not problems:
        known = _parameters(kind)
        for argument in state.get("made", {}):
            if argument not in known:
                problems.append(refuse(f"made.{argument}", state["made"][argument], f"is no argument of {name}"))
        for argument, says in state.get("own", {}).items():
            if argument not in given:
                rule = f"must be given again, as in {name}.from_state(state, {argument}=…)"
                problems.append(refuse(argument, says, rule))
    _raise_all(kind, problems)


def _raise_all(kind: type, problems: Sequence[Exception]) -> None:
    """One ValueError of all of them."""
    if problems:
        raise ValueError(f"{kind.__name__} cannot take this state: " + "; ".join(map(str, problems)))
