"""The executed notebooks as pages: pictures that move by themselves, formulas as MathML, answers folded away.

Widgets need a kernel. What stands beside each of them in a saved notebook, its pictures with their slider and words,
takes their place; of a widget without a picture, as a guess, what it says in words. plotly's form of a figure is left
out where its still form is there, so that no page needs plotly.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter

from docs.claims import anchor, inline, settled_by
from glora_lab.drawing.theme import listed
from glora_lab.page.look import FIGURE_LOOK
from glora_lab.page.still_image import Stills, image, stills
from tests.course.lessons import Lesson, course
from tests.course.write import repository

WIDGET, PLOTLY, SVG = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.plotly.v1+json",
    "image/svg+xml",
)
STILL = re.compile(r'<div class="glora-still">\s*<p.*?</p>(.*)</div>', re.DOTALL)
FORMULA = re.compile(r"\$\$([^$]+)\$\$|(?<![\\\w])\$([^$\n]+)\$")
PICTURE = re.compile(r"<img src=.data:image/svg")
INSTALLS = "find_spec"
FOLDED = "Guess first; then open the answer."
LOOK = "The picture here answers the lesson's question:"
INDEX = """\
# The course

| Lesson | The question it answers |
|---|---|
{rows}

```{{toctree}}
:hidden:

{pages}
```
"""
Cell = dict[str, Any]
Output = dict[str, Any]


def write(executed: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for lesson in course():
        notebook = json.loads((executed / lesson.path.name).read_text(encoding="utf-8"))
        state = widget_state(notebook)
        notebook["cells"] = [page_cell for cell in notebook["cells"] for page_cell in as_page(cell, lesson, state)]
        notebook["cells"][0]["source"] = answered(notebook["cells"][0]["source"], lesson)
        notebook["cells"].insert(1, text(opening(lesson), "open-in"))
        notebook["metadata"].pop("widgets", None)
        (folder / lesson.path.name).write_text(json.dumps(notebook), encoding="utf-8")
    rows = "\n".join(f"| [{one.number} {one.title}]({one.path.name}) | {one.question} |" for one in course())
    pages = "\n".join(f"{one.number} {one.title} <{one.path.stem}>" for one in course())
    (folder / "index.md").write_text(INDEX.format(rows=rows, pages=pages), encoding="utf-8")


def opening(lesson: Lesson) -> str:
    """Where the lesson can be run, and what a page without a kernel shows."""
    name, where = lesson.path.name, repository()
    ways = {
        "Binder": f"https://mybinder.org/v2/gh/{where}/HEAD?urlpath=lab/tree/notebooks/{name}",
        "Colab": f"https://colab.research.google.com/github/{where}/blob/HEAD/notebooks/{name}",
    }
    links = ", ".join(f'<a href="{link}">in {place}</a>' for place, link in ways.items())
    return (
        f'<p class="open-in">This page was made by running the lesson. Its pictures move with their sliders; to train '
        f"and to move everything else, run it {links}, or in your own JupyterLab with <code>glora-lab open</code>.</p>"
    )


def answered(first: str, lesson: Lesson) -> str:
    """The first cell, and below its question what answers it."""
    answers, asked = lesson.answers(), f"*{lesson.question}*"
    if not answers:
        return first
    seen = listed(
        f'<a href="#{answer_of(cell)}">{html.escape(says, quote=False)}</a>' for cell, says in answers.items()
    )
    where = "in a picture below" if len(answers) == 1 else "in pictures below"
    return first.replace(asked, f'{asked}\n\n<p class="answered">The answer is {where}: {seen}.</p>')


def answer_of(cell: str) -> str:
    """The place on the page."""
    return f"answer-{cell}"


def as_page(cell: Cell, lesson: Lesson, state: dict[str, Any]) -> Iterator[Cell]:
    """The cell as the page has it, and above it the claims that it settles."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield {**cell, "source": FORMULA.sub(formula, source)}
        return
    if INSTALLS in source:
        return
    for claim in settled_by(lesson, cell["id"]):
        yield text(
            f'<p class="claim" id="{anchor(claim)}"><b>{inline(claim.claim)}</b>: {claim.verdict}. '
            f"{inline(claim.measured)}.</p>",
            anchor(claim),
        )
    answers = cell["id"] in lesson.answers()
    if answers:
        asked = html.escape(lesson.question, quote=False)
        yield text(f'<p class="answers" id="{answer_of(cell["id"])}">{LOOK} <i>{asked}</i></p>', answer_of(cell["id"]))
    outputs = [shown for output in cell["outputs"] for shown in as_shown(output, state)]
    if answers and not any(PICTURE.search(str(shown.get("data"))) for shown in outputs):
        raise SystemExit(f"{lesson.path.name}, {cell['id']}: it answers the question, and shows no picture")
    folded = "answer=" in source and not any("glora-sweep" in str(shown.get("data")) for shown in outputs)
    tags = ["hide-output"] if folded and outputs else []
    yield {**cell, "outputs": outputs, "metadata": {"tags": tags}}


def formula(found: re.Match[str]) -> str:
    """MathML of a formula in the text, or of one by itself, whose parts a narrow page has below one another."""
    if not found[1]:
        return latex2mathml.converter.convert(found[2])
    parts = (latex2mathml.converter.convert(part.strip(), display="block") for part in found[1].split(r"\qquad"))
    return f'<div class="formula" tabindex="0">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def as_shown(output: Output, state: dict[str, Any]) -> Iterator[Output]:
    data = output.get("data")
    if data is None:
        yield output
        return
    page = "".join(data.get("text/html", ""))
    told = STILL.search(page)
    if told:
        yield {**output, "data": {"text/html": told[1]}}
    elif WIDGET in data:
        said = in_words(data[WIDGET]["model_id"], state)
        if said:
            yield {**output, "data": {"text/html": FIGURE_LOOK + said}}
    elif SVG in data:
        wide = "".join(data[SVG])
        drawn = stills(data[PLOTLY]) if PLOTLY in data else Stills(wide, wide)
        shown = image(drawn, "".join(data.get("text/plain", "")))
        yield {**output, "data": {"text/html": f'<div class="glora-wide" tabindex="0">{shown}</div>'}}
    elif set(data) - {"text/plain"} or "".join(data.get("text/plain", "")).strip():
        yield {**output, "data": {kind: value for kind, value in data.items() if kind != PLOTLY}}


def widget_state(notebook: dict[str, Any]) -> dict[str, Any]:
    saved: dict[str, dict[str, Any]] = notebook["metadata"].get("widgets", {})
    return next((held.get("state", {}) for held in saved.values()), {})


def in_words(model: str, state: dict[str, Any]) -> str:
    """What the HTML in a widget says, from the top down; nothing of a panel, whose pictures stand beside it.

    Of a guess its answer is folded away: it is a page without a kernel's way to hold it back.
    """
    told = state.get(model, {}).get("state", {})
    if "glora-panel" in told.get("_dom_classes", ()):
        return ""
    own = told.get("value", "") if told.get("_model_name") == "HTMLModel" else ""
    parts = [in_words(child.removeprefix("IPY_MODEL_"), state) for child in told.get("children", ())]
    if "glora-guess" in told.get("_dom_classes", ()) and "".join(parts[1:]).strip():
        return f"{parts[0]}<details><summary>{FOLDED}</summary>{''.join(parts[1:])}</details>"
    return own + "".join(parts)


def text(source: str, name: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}
