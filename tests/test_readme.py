"""The README's Python runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glora_lab.adapters import GloraConfig
from glora_lab.data import load_task
from glora_lab.measure import path_budget
from glora_lab.models import DIGITS_VIT_ACCURACY, load_model
from tests.course import write
from tests.course.lessons import course

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert blocks, "README.md shows no Python"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        above = "\n" * text.count("\n", 0, block.start(1))  # so that a traceback names the README's own line
        exec(compile(above + block[1], str(README), "exec"), namespace)


def test_the_counts_in_the_claims_are_counted() -> None:
    text = README.read_text(encoding="utf-8")
    body = r".*\.(q_proj|k_proj|v_proj|o_proj|fc1|fc2)"
    five = GloraConfig(r=4, config_D_E="vector", target_modules=body)
    ssf = GloraConfig.only(A="vector", D="vector", E="vector", target_modules=body)
    four, eight = (GloraConfig.only(B="lora", r=r, target_modules=body) for r in (4, 8))
    model = load_model("digits-vit")
    counts = {name: path_budget(model, c).total for name, c in zip("5s48", (five, ssf, four, eight), strict=True)}
    assert f"all five paths, with {counts['5']:,} parameters" in text
    assert f"LoRA of as many parameters, {counts['8']:,};" in text
    assert f"are behind LoRA with {counts['4']:,} " in text
    assert f"SSF has {counts['s'] / counts['4']:.0%} of the parameters of LoRA of rank 4" in text
    assert f"gets {DIGITS_VIT_ACCURACY:.1%} of {len(load_task('digits').test)} held-out" in text


def test_the_generated_parts_are_as_generated() -> None:
    assert README.read_text(encoding="utf-8") == write.readme(), "run `make readme`"


def test_the_ledger_has_every_claim_of_the_notebooks_and_all_three_verdicts() -> None:
    claims = [claim for lesson in course() for claim in lesson.claims()]
    ledger = write.ledger(claims)
    assert len(ledger.splitlines()) == len(claims) + 2 and len(claims) >= 15
    assert {claim.verdict for claim in claims} == {"holds", "holds partly", "does not hold here"}


def test_the_badges_lead_to_the_first_notebook() -> None:
    badges = write.badges()
    assert "?urlpath=lab/tree/notebooks/00_start_here.ipynb)" in badges
    assert f"/github/{write.repository()}/blob/HEAD/notebooks/00_start_here.ipynb)" in badges


def test_every_panel_has_a_picture() -> None:
    pictures = re.findall(r"\]\((tests/browser/pictures/\w+Panel\.png)\)", write.panel_table())
    assert pictures and all((README.parent / picture).stat().st_size < 200_000 for picture in pictures)
