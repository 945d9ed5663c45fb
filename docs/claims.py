"""The ledger of claims as a page: sorted by its heads, filtered by what one types, each linked to its cell."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.course.lessons import Claim, Lesson, Second, course

HEADS = ("About", "Claim", "Verdict", "At 22M", "What we measured", "Who says so", "Lesson")
TABLE = """\
# What the claims come to

Every line stands over a cell that asserts it, and the link leads there. "At 22M" is what became of it on a real model
of 22 million parameters. A head sorts; what you type is looked for in every column.

<p><label for="claim-filter">Filter</label> <input id="claim-filter" type="search"
placeholder="GraLoRA, holds partly …"> <span id="claim-count" role="status"></span></p>
<div class="claims" tabindex="0" role="region" aria-label="The ledger of claims"><table id="claims" role="table">
<thead><tr role="row">{heads}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
<script src="_static/claims.js"></script>
"""


def anchor(claim: Claim | Second) -> str:
    """The id of a claim on its lesson's page."""
    return f"claim-{claim.cell}-{settled_by(claim.lesson, claim.cell).index(claim)}"


def settled_by(lesson: Lesson, cell: str) -> list[Claim | Second]:
    """The claims that a cell settles, its lesson's own first."""
    told: list[Claim | Second] = [*lesson.claims(), *lesson.second_verdicts()]
    return [claim for claim in told if claim.cell == cell]


def write(file: Path) -> None:
    claims = [claim for lesson in course() for claim in lesson.claims()]
    seconds = {second.claim: second for lesson in course() for second in lesson.second_verdicts()}
    heads = "".join(
        f'<th role="columnheader" aria-sort="none"><button type="button">{head}</button></th>' for head in HEADS
    )
    rows = "\n".join(row(claim, seconds.get(claim.claim)) for claim in claims)
    file.write_text(TABLE.format(heads=heads, rows=rows), encoding="utf-8")


def row(claim: Claim, second: Second | None) -> str:
    again = f"{inline(second.verdict)}: {inline(second.measured)} {link(second)}" if second else "–"
    told = [inline(claim.about), inline(claim.claim), inline(claim.verdict), again]
    told += [inline(claim.measured), inline(claim.source), link(claim)]
    cells = (f'<td role="cell" data-head="{head}">{cell}</td>' for head, cell in zip(HEADS, told, strict=True))
    return f'<tr role="row">{"".join(cells)}</tr>'


def inline(text: str) -> str:
    """Text of a claim as HTML: what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def link(claim: Claim | Second) -> str:
    page = f"lessons/{claim.lesson.path.stem}.html#{anchor(claim)}"
    return f'<a href="{page}">{claim.lesson.number} {html.escape(claim.lesson.title)}</a>'
