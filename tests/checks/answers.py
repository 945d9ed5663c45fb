"""The solutions of notebook 10, and for each exercise three wrong answers with words of the hint that refuses them.

Each is Python that sets `answer`, run in the notebook's own cell in place of its `answer = ...`.
"""

from __future__ import annotations

from typing import NamedTuple


class Answers(NamedTuple):
    """`wrong` holds pairs of a wrong answer and a part of the hint that it must get."""

    solution: str
    wrong: tuple[tuple[str, str], ...]


ANSWERS: dict[str, Answers] = {
    "budget": Answers(
        'answer = {"A": 4 * (64 + 128), "B": 4 * (64 + 128), "C": 4 * (64 + 1), "D": 128, "E": 128}',
        (
            ('answer = {"A": 64 * 128, "B": 768, "C": 260, "D": 128, "E": 128}', "two thin factors"),
            ('answer = {"A": 768, "B": 768, "C": 64, "D": 128, "E": 128}', "C becomes a vector"),
            ('answer = {"A": 768, "B": 768, "C": 260, "D": 64, "E": 128}', "How long is that?"),
            ('answer = {"A": 768, "B": 768}', "missing: C, D, E"),
        ),
    ),
    "inert": Answers(
        'answer = {"C", "D", "E"}',
        (
            ('answer = "DE"', "Not all of them"),
            ('answer = ["A", "C", "D", "E"]', "changes the weight"),
            ('answer = "X"', "The paths are A, B, C, D, E"),
        ),
    ),
    "rank_of_entrywise": Answers(
        "answer = 64",
        (
            ("answer = 4", "a bound for A itself"),
            ("answer = 128", "can have so large a rank"),
            ("answer = 8", "Too small"),
            ('answer = "full"', "one whole number"),
        ),
    ),
    "equal_ranks": Answers(
        "one = 12 * (64 + 64) + 6 * (64 + 128)\n"
        'answer = {"LoRA": 21_504 // one, "GLoRA": 21_504 // (2 * one), "GraLoRA": 21_504 // one}',
        (
            ('answer = {"LoRA": 8, "GLoRA": 8, "GraLoRA": 8}', "how many pairs of factors"),
            ('answer = {"LoRA": 16, "GLoRA": 4, "GraLoRA": 8}', "LoRA: over the budget"),
            ('answer = {"LoRA": 8, "GLoRA": 4, "GraLoRA": 2}', "GraLoRA: within the budget"),
        ),
    ),
    "fitting_k": Answers(
        "answer = [k for k in range(1, 13) if 12 % k == 96 % k == 64 % k == 0]",
        (
            ("answer = [1, 2, 3, 4]", "not the other side"),
            ("answer = [1, 2, 4, 8]", "cuts the rank"),
            ("answer = [2, 4]", "there is more"),
            ("answer = 4", "in a list"),
        ),
    ),
    "lora": Answers(
        'answer = GloraConfig.only(B="lora", r=4)',
        (
            ("answer = GloraConfig(r=4)", "which path multiplies it?"),
            ('answer = GloraConfig.only(B="lora", E="vector", r=4)', "moves the bias"),
            ('answer = GloraConfig.only(B="lora", r=8)', "its rank is 8"),
            ('answer = "B lora"', "a glora_lab.GloraConfig"),
        ),
    ),
    "block_delta": Answers(
        "m, n, s = 1, 2, r // k\n"
        'answer = scaling * np.einsum("is,so->oi", A[n][:, m * s : (m + 1) * s], B[m][n * s : (n + 1) * s])',
        (
            ('answer = scaling * np.einsum("ir,ro->oi", A[2], B[1])', "All r columns"),
            ('answer = np.einsum("is,so->oi", A[2][:, 2:4], B[1][4:6])', "alpha comes in"),
            ('answer = scaling * np.einsum("is,so->oi", A[1][:, 4:6], B[2][2:4])', "the output block comes first"),
            ('answer = scaling * np.einsum("is,so->io", A[2][:, 2:4], B[1][4:6])', "lies on its side"),
        ),
    ),
    "paths_under_limit": Answers(
        'answer = GloraConfig.only(B="lora", r=1)',
        (
            ('answer = GloraConfig.only(B="lora", r=2)', "above the limit of 3,000"),
            ('answer = GloraConfig.only(A="vector", E="vector")', "which path does the work?"),
            ('answer = GloraConfig.only(B="lora", r=1, target_modules=["nothing"])', "cannot be used here"),
        ),
    ),
    "outlier_reach": Answers(
        "answer = range(40 // 32 * 32, 40 // 32 * 32 + 32)",
        (
            ("answer = [40]", "full fine-tuning"),
            ("answer = [i for i in range(32, 64) if i != 40]", "Only channel 40 is missing"),
            ("answer = range(128)", "LoRA's answer"),
            ("answer = range(40, 72)", "which blocks read channel 40"),
            ("answer = range(32, 96)", "Too many"),
        ),
    ),
    "lost_bases": Answers(
        "answer = [a for a in (-0.9, -0.99, -0.995, -0.999, -1.0) if torch.tensor(a).bfloat16() == -1]",
        (
            ("answer = [-1.0]", "More are lost"),
            ("answer = [-0.9, -0.99, -0.995, -0.999, -1.0]", "drifts, and stays a number"),
            ("answer = [-0.995, -1.0]", "Some of these survive"),
            ("answer = [1.0]", "Please choose from"),
        ),
    ),
    "repaired_merge": Answers(
        "after_the_first = (given.weight - given.B2) / (1 + given.A2)\n"
        "w0 = (after_the_first - given.B1) / (1 + given.A1)\n"
        "answer = w0 + w0 * (given.A1 + given.A2) + given.B1 + given.B2",
        (
            ("answer = given.weight", "as you found it"),
            ("answer = (given.weight - given.B2) / (1 + given.A2)", "The second adapter is out again"),
            (
                "answer = ((given.weight - given.B2) / (1 + given.A2) - given.B1) / (1 + given.A1)",
                "the original weight; now both",
            ),
            ("answer = given.weight - given.B1 * given.A2", "A1 and A2 still multiply each other"),
            ("answer = given.weight - given.B2", "Go backwards"),
            ("answer = given.weight.T", "lies on its side"),
        ),
    ),
    "mixed_names": Answers(
        "outputs = {}\n"
        'for name in ("red", "green", "blue", "__base__"):\n'
        "    with torch.no_grad():\n"
        "        outputs[name] = mix.model(pixel_values=mix.pixel_values, adapter_names=[name] * 6).logits\n"
        "answer = [min(outputs, key=lambda name: (outputs[name][row] - mix.logits[row]).norm()) for row in range(6)]",
        (
            ('answer = ["red"] * 6', "Does every row need an adapter?"),
            ('answer = ["red", "green", "blue"]', "There are 6 rows"),
            ('answer = ["purple"] * 6', "purple: no such adapter"),
            ('answer = ["__base__"] * 6', "compare row by row"),
        ),
    ),
}
