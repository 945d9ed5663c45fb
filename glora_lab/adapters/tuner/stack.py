"""One of our layers among other tuners' layers on the same base, and what they must not do to each other.

They all read and change one weight, that of the innermost layer. A sum over it may be merged in any order; what looks
at the weight itself may not, and is refused before anything is changed.

PEFT's layers merge in place, and trust that the weight contains what they merged. So what an outer layer, put over
ours later, has merged is taken out before W0 is read, kept or put back, and merged again after; and while one of ours
has put another weight there, it says what that one contains of the inner layers' merges, and lets them do again what
they have done since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from peft.tuners.lora.layer import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from glora_lab.adapters.base.computed import how_computed, is_computed
from glora_lab.adapters.base.frozen import InnermostLayer, is_function, is_packed, is_quantised, is_sharded
from glora_lab.adapters.base.kind import in_words

from .uncalled import WatchedLayer


class InnerMerges:
    """The tuner layers from `layer` inwards, outermost first; none where it is a plain layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.tuners: list[BaseTunerLayer] = []
        while isinstance(layer, BaseTunerLayer):
            self.tuners.append(layer)
            layer = cast(nn.Module, layer.base_layer)

    def unmerged_doras(self) -> list[BaseTunerLayer]:
        """The layers whose output depends on the norm of the innermost weight: nothing may be merged there."""
        return [tuner for tuner in self.tuners if not tuner.merged and has_dora(tuner)]

    def names(self) -> list[list[str]]:
        """The merged adapters of each."""
        return [list(tuner.merged_adapters) for tuner in self.tuners]

    def set_names(self, names: list[list[str]]) -> None:
        """Let each layer take these for merged: the innermost layer's weight contains them."""
        for tuner, merged in zip(self.tuners, names, strict=True):
            tuner.merged_adapters = list(merged)

    def norms(self) -> list[dict[str, Any]]:
        """What each layer remembers for unmerging: a DoRA the norms that it divided by, until it has unmerged once."""
        return [dict(getattr(tuner, "_caches", {})) for tuner in self.tuners]

    def redo(self, contained: list[list[str]], norms: list[dict[str, Any]]) -> None:
        """Bring an innermost layer that contains these to what the layers say is merged."""
        for tuner, then, remembered in zip(self.tuners, contained, norms, strict=True):
            now = tuner.merged_adapters
            if now != then:
                tuner.merged_adapters = list(then)
                getattr(tuner, "_caches", {}).update(remembered)
                if then:
                    tuner.unmerge()
                if now:
                    tuner.merge(adapter_names=now)


class StackedLayer(WatchedLayer):
    """The layer beneath, the adapters beneath and above, and the checks that they allow what is asked."""

    base_layer: nn.Module

    @property
    def innermost(self) -> InnermostLayer:
        """The innermost layer, whose weight and bias an adapter is merged into."""
        return cast(InnermostLayer, self.get_base_layer())

    @property
    def inner(self) -> InnerMerges:
        """The adapters beneath, merged or not."""
        return InnerMerges(self.base_layer)

    @property
    def outer(self) -> list[BaseTunerLayer]:
        """The adapters that were put over this layer, outermost first."""
        return [] if self.place is None else self.place.above(self)

    def check_base(self, reads_base: bool) -> None:
        """Refuse to compute beside a weight into which an outer adapter was merged, where that would be wrong."""
        for tuner in self.outer:
            if tuner.merged and (reads_base or not adds_only(tuner)):
                raise ValueError(
                    f"Layer {self.layer_name!r} carries {type(self).__name__} beneath {_kind(tuner)}, which is merged "
                    "into the weight that this one needs as it was: merge both, or unmerge the outer one."
                )

    def check_writable(self) -> None:
        """Refuse to write a weight or a bias that is no parameter."""
        if is_computed(self.innermost):
            raise ValueError(
                f"Layer {self.layer_name!r} has no parameter for its {how_computed(self.innermost)}, and what is "
                "merged would be computed away again: leave the adapter beside it, or put an nn.Parameter there first "
                "(with torch.nn.utils.parametrize.remove_parametrizations, prune.remove, remove_weight_norm)."
            )

    def check_stack(self) -> None:
        """Refuse to merge into a weight that is quantised, sharded, computed or read by a forward of its own, or where
        the layer is not called, or another one on the same base would then compute something else."""
        name, own = self.layer_name, type(self).__name__
        self.check_called()
        if is_quantised(self.innermost) or is_packed(self.innermost):
            kept = f"{type(self.innermost).__module__}.{type(self.innermost).__name__}"
            kept = kept if is_packed(self.innermost) else type(self.innermost.weight).__name__
            raise ValueError(
                f"Layer {name!r} keeps its weight quantised ({kept}), and would round what "
                "is merged into it: leave the adapter beside it, or load the base in floating point and the adapter "
                "into that, and merge there."
            )
        if is_sharded(self.innermost.weight):
            raise ValueError(
                f"Layer {name!r} is sharded over processes: save the adapter, load it into the whole model, and merge "
                "there."
            )
        self.check_writable()
        if is_function(self.innermost):
            raise ValueError(
                f"Layer {name!r} computes more than x·W0ᵀ + b0 ({in_words(self.innermost)}), in which a merged weight "
                "would mean something else than the adapter beside it: leave it beside it."
            )
        for inner in self.inner.tuners:
            # each would keep the base aside, and put back the other's weight
            if isinstance(inner, StackedLayer):
                raise ValueError(
                    f"Layer {name!r} carries {own} over {type(inner).__name__}, which runs and trains, but cannot be "
                    "merged: use `merge_and_unload` on the inner one before adding the outer."
                )
        self.check_inner_doras()
        if any(has_dora(tuner) for tuner in self.outer):
            raise ValueError(
                f"Layer {name!r} carries {own} beneath a DoRA, which divides by the norm of the weight and would find "
                "another one after this merge: it cannot be merged."
            )

    def check_inner_doras(self) -> None:
        """Refuse to be merged over a DoRA that is not."""
        if self.inner.unmerged_doras():
            raise ValueError(
                f"Layer {self.layer_name!r} carries {type(self).__name__} over a DoRA, which divides by the norm of "
                "the weight: merge the inner DoRA first, and unmerge it last."
            )


@contextmanager
def set_aside(outer: Sequence[BaseTunerLayer], innermost: InnermostLayer, *, again: bool) -> Iterator[None]:
    """Within, the innermost layer is without what `outer` (outermost first) merged. After, it is merged `again` into
    whatever that layer has then, or else, and after an error, the layer has the bits of before."""
    merged = [list(tuner.merged_adapters) for tuner in outer]
    if not any(merged):
        yield
        return
    tensors = [t for t in (innermost.weight, innermost.bias) if t is not None]
    before = [tensor.data for tensor in tensors]
    for tensor in tensors:
        tensor.data = tensor.data.clone()  # PEFT subtracts in place
    for tuner in outer:
        if tuner.merged:
            tuner.unmerge()
    try:
        yield
    except BaseException:
        again = False
        raise
    finally:
        if again:
            for tuner, names in reversed(list(zip(outer, merged, strict=True))):
                if names:
                    tuner.merge(adapter_names=names)
        else:
            for tensor, data in zip(tensors, before, strict=True):
                tensor.data = data
            for tuner, names in zip(outer, merged, strict=True):
                tuner.merged_adapters = names


def adds_only(tuner: BaseTunerLayer) -> bool:
    """Whether what this layer merges is a sum, the same over any weight: LoRA, and not DoRA."""
    return isinstance(tuner, LoraLayer) and not has_dora(tuner)


def has_dora(tuner: BaseTunerLayer) -> bool:
    """Whether an active or merged adapter is a DoRA, which divides by the norm of the weight that it finds."""
    names = [*tuner.active_adapters, *tuner.merged_adapters]
    return isinstance(tuner, LoraLayer) and any(cast(Any, tuner).use_dora.get(name) for name in names)


def _kind(tuner: BaseTunerLayer) -> str:
    return "a DoRA" if has_dora(tuner) else f"{type(tuner).__module__.split('.')[-2]}.{type(tuner).__name__}"
