"""A panel's state in a real browser: undone by button and key, copied, made again of the copy, brought by a link."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

BEGIN = "import torch\nfrom glora_lab.panels import PathPanel\ntorch.set_num_threads(1)"
PANEL = "panel = PathPanel()\npanel"
COPY = "COPY = 1"  # what is copied takes its place
SAME_PICTURE = "lab.plots().length === 2 && JSON.stringify(lab.plots()[0]) === JSON.stringify(lab.plots()[1])"


def notebook_of_a_panel(folder: Path) -> Path:
    return write_notebook(folder / "state.ipynb", BEGIN, PANEL, COPY)


def test_a_reader_takes_steps_back_and_copies_what_stands(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(notebook_of_a_panel(tmp_path))
    page = notebook.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    notebook.run_all()
    page.locator(".glora-undo[disabled]").wait_for()

    notebook.slide("rank", 4)
    notebook.choose("A", "vector")
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])
    page.locator(".glora-undo").click()
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "lora"])
    page.keyboard.press("Control+z")  # the focus is in the panel
    notebook.becomes("[panel.rank.value, panel.state['A']]", [8, "lora"])
    page.keyboard.press("Control+Shift+Z")
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "lora"])
    page.keyboard.press("Control+y")
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])
    readout = notebook.control("rank").locator(".widget-readout")
    readout.click()
    page.keyboard.press("Control+z")  # where text is written the key is the text's
    page.keyboard.press("Escape")
    page.locator(".glora-reset").click()
    notebook.becomes("[panel.rank.value, panel.state['A']]", [8, "lora"])
    page.locator(".glora-undo").click()
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])

    code, link = copied(notebook)
    assert code.splitlines()[0] == "from glora_lab.panels import PathPanel"
    assert eval(code.splitlines()[1].partition("from_state")[2]) == notebook.evaluate("panel.state")
    assert link.startswith(page.url.partition("?")[0] + "?glora_lab=")
    page.evaluate(
        "([from, to]) => lab.panel().content.widgets.find(({ model }) => model.sharedModel.source === from)"
        ".model.sharedModel.setSource(to)",
        [COPY, f"again = (\\\n{code.splitlines()[1]}\n)\nagain"],
    )
    page.evaluate("lab.panel().content.activeCellIndex = 2, lab.run('notebook:run-cell')")
    notebook.has_run()
    notebook.until(SAME_PICTURE)
    assert notebook.evaluate("[again.figure.figure.to_json() == panel.figure.figure.to_json(), again.rank.value]") == [
        True, 4
    ]  # fmt: skip

    page.evaluate("lab.shutDown()")
    notebook.until("lab.down")
    notebook.reload(link)
    notebook.run_all()
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])
    notebook.until(SAME_PICTURE)
    page.locator(".glora-undo").first.click()  # all that the link brought is one step
    notebook.becomes("[panel.rank.value, panel.state['A']]", [8, "lora"])
    notebook.run_all()  # a link is taken once
    notebook.becomes("[panel.rank.value, again.rank.value]", [8, 4])

    notebook.reload(link)  # onto a running kernel, whose panel shows what the link brings
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])
    notebook.run_all()  # and so does the one that its cell makes anew
    notebook.becomes("[panel.rank.value, panel.state['A']]", [4, "vector"])
    notebook.run_all()
    notebook.becomes("[panel.rank.value, again.rank.value]", [8, 4])
    assert notebook.errors() == []


def copied(notebook: NotebookPage) -> tuple[str, str]:
    """What the button copies, and the link beside it."""
    page = notebook.page
    page.locator(".glora-copy > summary").first.click()
    notebook.until("document.querySelector('.glora-copied').textContent === 'The code is copied.'")
    code = page.evaluate("navigator.clipboard.readText()")
    page.locator(".glora-address button").first.click()
    notebook.until("document.querySelector('.glora-copied').textContent === 'The link is copied.'")
    return code, page.evaluate("navigator.clipboard.readText()")
