"""One adapter that holds the weights of every choice: all of them share, and one is chosen without moving a weight.

The shared tensors are those of the richest choice. A layer finds the tensors of the adapter where it always does, and
what it finds there are views of the shared ones: choosing puts others there. So the layers' own code runs, and what
comes out is what an adapter built for that choice computes with the same weights.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from glora_lab.adapters.tuner.table import own_tensors
from glora_lab.adapters.view import adapted_layers
from glora_lab.arguments import refuse
from glora_lab.folders import replacing

from .methods import Picked, Searched, Site
from .space import Choice, SearchSpace

ADAPTER = "default"
Keep = Callable[[Tensor], Tensor]  # of a view of a shared tensor: what the layer is given


class Supernet:
    """`model` is the adapted copy, `shared` the tensors that train, by layer and name.

    Raises:
        ValueError: where the method does not fit the model.
    """

    def __init__(self, model: nn.Module, space: SearchSpace, *, seed: int = 0) -> None:
        self.space, self.base = space, model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: PeftModel
            self._layers: dict[str, SharedLayer] = {}
            for weights, picked in space.method.richest().items():
                self._add(weights, picked)
        self.choose(space.largest)

    def _add(self, weights: str, picked: Picked) -> None:
        """Weights that share nothing with those before: built as any adapter is."""
        method = self.space.method
        sites = [site for site in self.space.layers if method.params(site, picked)]
        config: Any = method.config(dict.fromkeys(sites, picked))
        if not self._layers:
            self.model = get_peft_model(copy.deepcopy(self.base), config)
            found = adapted_layers(self.model)
            self._layers = {site.name: SharedLayer(found[site.name], site, method) for site in sites}
        else:
            for site in sites:
                self._layers[site.name].layer.update_layer(ADAPTER, config)
        for site in sites:
            self._layers[site.name].hold(weights)

    @property
    def shared(self) -> dict[str, nn.Parameter]:
        return {f"{name}.{own}": t for name, layer in self._layers.items() for own, t in layer.tensors().items()}

    def choose(self, choice: Choice) -> None:
        """From now on the model is the adapter of that choice, with the shared weights; no weight is moved."""
        self._put(choice, lambda view: view)

    def choose_copy(self, choice: Choice) -> None:
        """As `choose`, with copies of the weights, to be trained on from there: the shared ones stay."""
        self._put(choice, lambda view: nn.Parameter(view.detach().clone()))

    def _put(self, choice: Choice, keep: Keep) -> None:
        picked = self.space.picked(choice)
        for name, layer in self._layers.items():
            layer.put(picked[name], keep)

    def built(self, choice: Choice) -> PeftModel:
        """An adapter built for that choice alone, with a copy of the weights that it has here."""
        model = get_peft_model(copy.deepcopy(self.base), self.space.config(choice))
        self.choose(choice)
        with torch.no_grad():
            for name, layer in adapted_layers(model).items():
                here = own_tensors(self._layers[name].layer, ADAPTER)
                for own, tensor in own_tensors(layer, ADAPTER).items():
                    tensor.copy_(here[own])
        return model

    def save(self, folder: str | Path) -> None:
        """Write the shared weights, and which space they are of, as `supernet.safetensors`."""
        with replacing(folder) as new:
            tensors = {name: tensor.detach().contiguous() for name, tensor in self.shared.items()}
            save_file(tensors, new / "supernet.safetensors", metadata={"space": json.dumps(self._space)})

    def load(self, folder: str | Path) -> None:
        """Read what `save` wrote.

        Raises:
            ValueError: where it is of another space.
        """
        shared = self.shared
        with safe_open(Path(folder) / "supernet.safetensors", "pt") as file:
            if json.loads((file.metadata() or {}).get("space", "null")) != self._space or set(file.keys()) != set(
                shared
            ):
                raise refuse("folder", str(folder), "must hold the weights of this space, and holds those of another")
            read = {name: file.get_tensor(name) for name in shared}
        with torch.no_grad():
            for name, tensor in shared.items():
                tensor.copy_(read[name])

    @property
    def _space(self) -> list[Any]:
        return json.loads(json.dumps([self.space.method.name, [slot.__dict__ for slot in self.space.slots]]))


class Recipe(NamedTuple):
    """How a layer becomes a choice: what it notes, the shapes of its tensors, and where each is put."""

    plan: Any
    shapes: Mapping[str, tuple[int, ...]]
    places: tuple[tuple[str, dict[str, Any], str], ...]  # name, where, under which key
    items: tuple[tuple[dict[str, Any], nn.Module | None], ...]  # containers and what stands in them
    buffers: tuple[tuple[dict[str, Any], Mapping[str, Tensor]], ...]


class SharedLayer:
    """One layer, the tensors that its choices share, and the places where it looks for those of the one chosen."""

    def __init__(self, layer: Any, site: Site, method: Searched) -> None:
        self.layer, self.site, self._method = layer, site, method
        self._held: dict[str, dict[str, nn.Parameter]] = {}  # weights → name → tensor
        self._made: dict[str, nn.Module] = {}  # container → the module that PEFT or a layer of ours made
        self._items: dict[tuple[str, frozenset[str]], nn.Module] = {}
        self._recipes: dict[tuple[Any, ...], Recipe | None] = {}
        containers = [layer._modules[name] for name in layer.adapter_layer_names if name in layer._modules]
        self._places: list[dict[str, Any]] = []  # where the layer looks for what an adapter has
        for held in containers:
            self._places += [held._modules] if isinstance(held, nn.ModuleDict) else [held._parameters, held._keys]

    def hold(self, weights: str) -> None:
        """Take the tensors that the layer has now for shared ones."""
        self._held[weights] = {n: t for n, t in own_tensors(self.layer, ADAPTER).items() if t.requires_grad}
        for container in self.layer.adapter_layer_names:
            held = getattr(self.layer, container)
            if isinstance(held, nn.ModuleDict) and ADAPTER in held:
                self._made[container] = held[ADAPTER]

    def tensors(self) -> dict[str, nn.Parameter]:
        return {
            f"{weights}.{name}" if weights else name: tensor
            for weights, tensors in self._held.items()
            for name, tensor in tensors.items()
        }

    def put(self, picked: Picked, keep: Keep) -> None:
        key = tuple(picked.values())
        if key not in self._recipes:
            self._recipes[key] = self._recipe(picked)
        for held in self._places:
            held.pop(ADAPTER, None)
        if (recipe := self._recipes[key]) is None:
            return
        for where, item in recipe.items:
            where[ADAPTER] = item
        for where, buffers in recipe.buffers:
            where.update(buffers)
        parts = self._method.part(self._held[self._method.weights_of(picked)], recipe.shapes, picked)
        for name, where, key_ in recipe.places:
            where[key_] = keep(parts[name].contiguous())  # in memory as built, or the last bit may differ
        self._method.note(self.layer, ADAPTER, recipe.plan)

    def _recipe(self, picked: Picked) -> Recipe | None:
        plan = self._method.plan(self.site, picked)
        if plan is None:
            return None
        shapes = self._method.shapes(plan)
        containers: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in shapes.items():
            container, _, own = name.partition(".")
            containers.setdefault(container, {})[own] = shape
        places: list[tuple[str, dict[str, Any], str]] = []
        items: list[tuple[dict[str, Any], nn.Module | None]] = []
        for container, own_shapes in containers.items():
            held = self.layer._modules[container]
            if not isinstance(held, nn.ModuleDict):
                places.append((container, held._parameters, ADAPTER))
                items.append((held._keys, None))
                continue
            item = self._item(container, own_shapes)
            items.append((held._modules, item))
            places += [(f"{container}.{own}", item._parameters, own) for own in own_shapes]
        fixed = self._method.fixed(plan)
        buffers = tuple((item._buffers, fixed) for _, item in items if item is not None) if fixed else ()
        return Recipe(plan, shapes, tuple(places), tuple(items), buffers)

    def _item(self, container: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
        key = container, frozenset(shapes)
        if key not in self._items:
            self._items[key] = self._method.item(shapes, self._made[container])
        return self._items[key]
