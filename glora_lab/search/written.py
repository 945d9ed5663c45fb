"""A space written down, so that a study can be read where its model is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glora_lab.adapters.own.method import DEFINED
from glora_lab.arguments import refuse

from .methods import Site
from .space import SearchSpace, searched


def written(space: SearchSpace) -> dict[str, Any]:
    """All that makes a space, for JSON."""
    method = space.method
    return {
        "method": method.name,
        "ranks": list(method.ranks),
        "modes": {path: list(of) for path, of in getattr(method, "modes", {}).items()} or None,
        "ks": list(getattr(method, "ks", ())),
        "settings": method.settings,
        "groups": {name: [list(site) for site in sites] for name, sites in space.groups.items()},
    }


def read_space(text: Mapping[str, Any]) -> SearchSpace:
    """The space that was `written`.

    Raises:
        ValueError: where its method is not known here, being somebody's own.
    """
    name = text["method"]
    own = DEFINED.get(name)
    if own is None and name not in ("glora", "lora", "gralora"):
        raise refuse("method", name, "is somebody's own and must be defined here before its study is read")
    method = searched(own or name, text["ranks"], text["modes"], text["ks"], text["settings"])
    return SearchSpace(method, {group: [Site(*site) for site in sites] for group, sites in text["groups"].items()})
