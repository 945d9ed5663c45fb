"""A notebook open in a real JupyterLab, and what a person does with it: run, press, choose, slide, look."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Error, Locator, Page, Route, expect

from tests.browser.lab_server import LabServer

IN_PAGE = Path(__file__).with_name("page.js").read_text()
PATIENCE = 300.0  # seconds that a state may take to come: none where it comes at once, on a busy machine many
WIDGETS = "list(__import__('ipywidgets').widgets.widget._instances.values())"
LOOK_EVERY = 100  # milliseconds: at each frame, Playwright's own way, takes time from the page that draws


class NotebookPage:
    """One notebook in one tab. `page` is Playwright's, for what has no method here.

    `tell` takes a line that is printed when all tests have run.
    """

    def __init__(self, page: Page, server: LabServer, pictures: Path, tell: Callable[[str], None] = print) -> None:
        self.page, self.tell = page, tell
        self.refused: list[str] = []  # requests that wanted to leave the server
        self.page_errors: list[str] = []  # uncaught in the page's JavaScript
        self._server, self._pictures = server, pictures
        self._questions = itertools.count()
        page.context.route("**/*", self._guard)
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.add_init_script(IN_PAGE)

    # Running

    def open(self, notebook: Path, name: str) -> NotebookPage:
        self.page.goto(f"{self._server.url}/lab/tree/{self._server.add(notebook, name)}?reset")
        self.attach()
        return self

    def reload(self, address: str = "") -> None:
        """Save and load the page again, or from another address: a reader comes back to a running kernel."""
        self.page.evaluate("lab.save()")
        self.until("lab.saved")
        self.page.goto(address) if address else self.page.reload()
        self.attach()

    def restart(self) -> None:
        """A new kernel in the same page."""
        self.page.evaluate("lab.restart()")
        self.until("lab.restarted && lab.ready()")

    def run_all(self, seconds: float = PATIENCE, *, waive: bool = True) -> None:
        """Run every cell and wait for the last; a cell that fails is an AssertionError with its traceback.

        Every guess is waived then, unless the test makes them itself.
        """
        self.page.evaluate("lab.runAll()")
        self.has_run(seconds, waive=waive)

    def run_to(self, text: str, seconds: float = PATIENCE) -> None:
        """Run every cell down to the first code cell with this text, as `run_all` does."""
        self.page.evaluate("text => lab.runTo(text)", text)
        self.has_run(seconds)

    def has_run(self, seconds: float = PATIENCE, *, waive: bool = True) -> None:
        """Wait until what `lab.runAll()` began has run, and waive every guess."""
        self.until("lab.ran !== null", seconds)
        outcome = self.page.evaluate("lab.ran")
        assert outcome == "ok", "\n".join([outcome, *self.kernel_errors()])
        if waive:
            self.evaluate(f"[one.waive() for one in {WIDGETS} if type(one).__name__ == 'Guess']")

    def evaluate(self, expression: str, seconds: float = PATIENCE) -> Any:
        """The value of a Python expression in the kernel, through JSON."""
        answer = self._ask(f"print(__import__('json').dumps({expression}))", seconds)
        assert answer["error"] is None, f"{expression}: {answer['error']}"
        return json.loads(answer["out"])

    def until(self, condition: str, seconds: float = PATIENCE) -> None:
        """Wait until a JavaScript expression is truthy."""
        look = f"() => {{ return {condition}; }}"
        self.page.wait_for_function(look, timeout=1000 * seconds, polling=LOOK_EVERY)

    def becomes(self, expression: str, value: Any) -> None:
        """Wait until a Python expression in the kernel has this value: what a reader did may be answered elsewhere."""
        end = time.monotonic() + PATIENCE
        while (now := self.evaluate(expression)) != value:
            assert time.monotonic() < end, f"{expression} is {now!r} and not {value!r}"
            self.page.wait_for_timeout(LOOK_EVERY)

    # Controls, by the words a reader sees on them

    def button(self, text: str) -> Locator:
        return self.page.locator("button.jupyter-button", has_text=text)

    def press(self, text: str, nth: int = 0) -> None:
        """Click where the button is, once it can be pressed.

        Playwright's own click asks the page a dozen times before and after, each time behind what it is drawing: beside
        a training run it took from 15 s to over 30, while the mouse alone takes under one.
        """
        button = self.button(text).nth(nth)
        expect(button).to_be_enabled()
        place = button.evaluate(
            """button => {
                button.scrollIntoView({ block: "nearest" });
                const { left, top, width, height } = button.getBoundingClientRect();
                return [left + width / 2, top + height / 2];
            }"""
        )
        self.page.mouse.click(*place)

    def control(self, label: str) -> Locator:
        """The widget with this description: its label, its input and its readout."""
        return self.page.locator(f'label.widget-label:text-is("{label}")').locator("xpath=..")

    def within_reach(self, control: Locator) -> Locator:
        """The control, once it can be seen; where it is folded away, its panel's fold is opened first."""
        control.wait_for(state="attached")
        fold = control.locator("xpath=ancestor::*[contains(@class, 'glora-folded')]/preceding-sibling::button")
        if fold.count() and not control.is_visible():
            fold.click()
        control.wait_for()
        return control

    def choose(self, label: str, option: str, nth: int = 0) -> None:
        """Pick an option of a dropdown, or of a row of toggle buttons."""
        control = self.within_reach(self.control(label).nth(nth))
        if control.locator("select").count():
            control.locator("select").select_option(option)
        else:
            control.locator(f'button:text-is("{option}")').click()

    def slide(self, label: str, value: float | str, nth: int = 0) -> None:
        """Set a slider, or a number or text field, by typing the value where it is shown."""
        control = self.within_reach(self.control(label).nth(nth))
        field = control.locator(".widget-readout, input").first
        field.click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.type(str(value))
        self.page.keyboard.press("Enter")

    def seconds_to_picture(self, label: str, word: str, keys: list[str], nth: int = 0) -> list[float]:
        """Press each key on the slider's handle, and time it to the frame that draws a graph with this word anew."""
        return self._seconds_to(f"lab.picture({json.dumps(word)})", label, keys, nth)

    def seconds_to_change(self, label: str, selector: str, keys: list[str], nth: int = 0) -> list[float]:
        """The same for the first element of a CSS selector, to the frame in which it holds something else."""
        return self._seconds_to(f"lab.content({json.dumps(selector)})", label, keys, nth)

    def _seconds_to(self, shown: str, label: str, keys: list[str], nth: int) -> list[float]:
        handle = self.control(label).nth(nth).locator(".noUi-handle").first
        handle.focus()
        handle.evaluate(f"(handle, keys) => {{ lab.press(handle, keys, {shown}); }}", keys)
        self.until(f"lab.took.length === {len(keys)}")
        return [milliseconds / 1000 for milliseconds in self.page.evaluate("lab.took")]

    def tell_times(self, what: str, seconds: list[float]) -> float:
        """Have a line printed on how long something took, in milliseconds, and give the median in seconds."""
        low, high = 1000 * min(seconds), 1000 * max(seconds)
        self.tell(f"{what}: median {1000 * median(seconds):.0f} ms of {len(seconds)}, {low:.0f} to {high:.0f}")
        return median(seconds)

    # Looking

    def sees(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until the text stands in an output of the notebook."""
        expect(self.page.locator(".jp-OutputArea", has_text=text).first).to_be_visible(timeout=1000 * seconds)

    def plots(self) -> list[dict[str, Any]]:
        """Each plotly graph of the page, in order: its title, and its traces with type, name, x, y and z."""
        return self.page.evaluate("lab.plots()")

    def pixels(self, what: Locator | str) -> np.ndarray:
        """An element as the reader sees it, (height, width, 4) in red, green, blue and alpha."""
        png = base64.b64encode(self._locate(what).screenshot(animations="disabled")).decode()
        image = self.page.evaluate("png => lab.pixels(png)", png)
        flat = np.frombuffer(base64.b64decode(image["bytes"]), dtype=np.uint8)
        return flat.reshape(image["height"], image["width"], 4)

    def changed(self, what: Locator | str, before: np.ndarray, share: float) -> np.ndarray:
        """Wait until more than this share of an element's pixels are others, its size being the same, and give them."""
        end = time.monotonic() + PATIENCE
        while True:
            now = self.pixels(what)
            if now.shape == before.shape and (np.abs(now.astype(int) - before) > 16).mean() > share:
                return now
            assert time.monotonic() < end, f"{what} looks as before"
            self.page.wait_for_timeout(LOOK_EVERY)

    def screenshot(self, name: str, what: Locator | str | None = None) -> Path:
        """A picture of an element, or of the whole tab, as test-results/<name>.png."""
        self._pictures.mkdir(exist_ok=True)
        path = self._pictures / f"{name}.png"
        (self.page if what is None else self._locate(what)).screenshot(path=path, animations="disabled")
        return path

    def shrunk(self, png: bytes, scale: float, tallest: int) -> bytes:
        """A smaller PNG of the same, by the browser that drew it; its upper part where it would be taller than that."""
        given = [base64.b64encode(png).decode(), scale, tallest]
        small = self.page.evaluate("([png, scale, tallest]) => lab.shrunk(png, scale, tallest)", given)
        return base64.b64decode(small.partition(",")[2])

    # Errors

    def kernel_errors(self) -> list[str]:
        return self.page.evaluate("window.lab?.errors ?? []")

    def errors(self) -> list[str]:
        """Everything that went wrong without a word: in the kernel, in the page, towards the network."""
        return [
            *(f"swallowed in the kernel: {error}" for error in self.kernel_errors()),
            *(f"uncaught in the page: {error}" for error in self.page_errors),
            *(f"request outside the server: {url}" for url in self.refused),
        ]

    def close(self) -> list[str]:
        """Shut the kernel down and give back all errors, those of threads and tasks still unseen included."""
        try:
            self._ask("pass", PATIENCE)  # as this cell ends, the strict kernel tells of what nobody saw
            late = []
        except Error as error:
            late = [f"the kernel did not answer at the end: {error.message}"]
        errors = self.errors() + late
        self.page.evaluate("lab.shutDown()")
        self.until("lab.down")
        self.page.context.unroute_all(behavior="ignoreErrors")
        return errors

    def _ask(self, code: str, seconds: float) -> dict[str, Any]:
        number = next(self._questions)
        self.page.evaluate("([id, code]) => lab.ask(id, code)", [number, code])
        self.until(f"lab.answers[{number}]", seconds)
        return self.page.evaluate(f"lab.answers[{number}]")

    def attach(self) -> None:
        """Wait for the notebook and its kernel, and hear the kernel's errors: after the page was loaded."""
        self.until("lab.ready()")
        self.page.evaluate("lab.listen()")

    def _guard(self, route: Route) -> None:
        if route.request.url.startswith((self._server.url, "data:", "blob:")):
            route.continue_()
        else:
            self.refused.append(route.request.url)
            route.abort()

    def _locate(self, what: Locator | str) -> Locator:
        return self.page.locator(what).first if isinstance(what, str) else what
