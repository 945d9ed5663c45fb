"""Exercises on numbers of parameters, ranks and blocks. Each truth is counted on a real layer or model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from peft import LoraConfig, PeftConfig
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.measure import path_budget, path_picture, rank_by_k, rank_for_budget
from glora_lab.models import architecture, load_model

from .exercise import NotYet, exercise, numbers_by_name, several, whole_number
from .material import BODY, LAYER, adapted

ALL_PATHS = {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"}
RANK = 4
BUDGET = 21_504
METHODS: Mapping[str, PeftConfig] = {
    "LoRA": LoraConfig(target_modules=BODY),
    "GLoRA": GloraConfig.only(A="lora", B="lora", target_modules=BODY),
    "GraLoRA": GraloraConfig(r=8, gralora_k=4, target_modules=BODY),
}
BLOCKS_RANK, BLOCKS_LAYER = 12, (96, 64)  # r, and (in, out)


@exercise
def check_budget(answer: Any) -> str:
    """Parameters of each path on a layer of 64 inputs and 128 outputs: A, B and C lora of rank 4, D and E vector.

    `answer` is a dict from path to number.
    """
    counts = numbers_by_name(answer, PATHS)
    config = GloraConfig.only(**ALL_PATHS, r=RANK, target_modules=[LAYER])
    truth = path_budget(load_model("digits-vit"), config).by_path()
    wrong = [path for path in PATHS if counts[path] != truth[path]]
    if not wrong:
        return f"Together {sum(truth.values()):,}, for a layer that has {64 * 128 + 128:,} itself."
    if "A" in wrong or "B" in wrong:
        raise NotYet("A and B: two thin factors each, (out, r) and (r, in). How many numbers do both hold together?")
    if "C" in wrong:
        raise NotYet(
            "C becomes a vector of i numbers that W0 is multiplied with, and `lora` writes it as a product too."
        )
    raise NotYet(f"{' and '.join(wrong)}: what is scaled or shifted here is the bias. How long is that?")


@exercise
def check_inert(answer: Any) -> str:
    """The paths that can do nothing on Llama-3-8B, whose linear layers have no bias, under PEFT's rules.

    `answer` is their letters, as a text or a list.
    """
    items = several(answer, "the letters of the paths")
    if not all(isinstance(item, str) for item in items):
        raise NotYet(f"The paths are the letters {', '.join(PATHS)}.")
    letters = set("".join(items).upper().replace("AND", "")) - set(" ,;/+&.")
    if not letters <= set(PATHS):
        raise NotYet(f"The paths are {', '.join(PATHS)}; {', '.join(sorted(letters - set(PATHS)))} is none of them.")
    config = GloraConfig.only(**ALL_PATHS, target_modules="all-linear")
    truth = set(path_budget(architecture("Llama-3-8B"), config).inert_everywhere())
    if letters - truth:
        raise NotYet("At least one of these changes the weight, and every linear layer has a weight.")
    if truth - letters:
        raise NotYet("Not all of them. Go through b_eff term by term: what is each of them added to in these layers?")
    return "All of them end in the bias, and there is none to end in. Here `bias_free='add'` would bring C and E back."


@exercise
def check_rank_of_entrywise(answer: Any) -> str:
    """The rank of W0⊙A on a layer of 64 inputs and 128 outputs, where A is a product of factors of rank 4.

    `answer` is a whole number.
    """
    guess = whole_number(answer)
    config = GloraConfig.only(A="lora", r=RANK, target_modules=[LAYER], init_weights=False)
    picture = path_picture(adapted(load_model("digits-vit"), config), LAYER)
    if guess == picture.rank_w0a:
        of_w0 = np.linalg.matrix_rank(picture.w0)
        return f"A has rank {RANK}, W0 has {of_w0}: entry by entry, up to their product, and at most the shorter side."
    if guess > min(picture.w0.shape):
        raise NotYet("No matrix with these sides can have so large a rank.")
    if guess <= RANK:
        raise NotYet("That is a bound for A itself. But every entry of A is multiplied by another number of W0.")
    raise NotYet("Too small. W0 is a trained matrix: what is its own rank, and what does ⊙ do with two ranks?")


@exercise
def check_equal_ranks(answer: Any) -> str:
    """The largest ranks within 21,504 parameters on the 18 layers of the body of digits-vit: LoRA, GLoRA with A and B
    on `lora`, GraLoRA with k = 4.

    `answer` is a dict from method to rank.
    """
    ranks = numbers_by_name(answer, METHODS)
    model = load_model("digits-vit")
    truth = {name: rank_for_budget(model, config, BUDGET) for name, config in METHODS.items()}
    wrong = {name for name in METHODS if ranks[name] != truth[name]}
    if not wrong:
        return "At equal parameters LoRA and GraLoRA have the same r, and GLoRA half of it: it pays for A and B."
    large = [name for name in METHODS if ranks[name] > truth[name]]
    if large == ["GLoRA"]:
        raise NotYet("GLoRA is over the budget: how many pairs of factors does it have on each layer?")
    if large:
        raise NotYet(f"{' and '.join(large)}: over the budget. One rank costs in + out numbers, on every layer.")
    raise NotYet(f"{' and '.join(n for n in METHODS if n in wrong)}: within the budget, but a larger rank fits too.")


@exercise
def check_fitting_k(answer: Any) -> str:
    """Every k with which GraLoRA of rank 12 can be put on a layer of 96 inputs and 64 outputs, 1 included.

    `answer` is a list of whole numbers.
    """
    ks = {whole_number(item, "each k") for item in several(answer, "the numbers k")}
    base = nn.Linear(*BLOCKS_LAYER)
    truth = {row.k for row in rank_by_k(base, GraloraConfig(r=BLOCKS_RANK))}
    too_many = sorted(ks - truth)
    if any(k < 1 for k in too_many):
        raise NotYet("k counts the blocks per side, so it begins at 1.")
    if any(BLOCKS_RANK % k for k in too_many):
        raise NotYet("One of these cuts the rank into pieces that are not whole: each block has rank r/k.")
    if too_many:
        raise NotYet("One of these cuts the rank and one side evenly, but not the other side.")
    if truth - ks:
        raise NotYet("All of these fit, and there is more. (k = 1 is one block: LoRA.)")
    return "k has to divide three numbers: the inputs, the outputs and the rank."
