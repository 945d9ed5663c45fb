"""Keeping an adapter: a folder that PEFT's `save_pretrained` writes, and the code to load and to make it again.

LoRA is stock PEFT's from the configuration to the files, so its code needs nothing else, and names the folder in full
where a reader wrote `~`, which PEFT does not know; GLoRA and GraLoRA are loaded into this library's layers. The files
of either take their place together: PEFT would write LoRA's one after the other over those of before.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel

from glora_lab.adapters.checkpoints.peft_hooks import saving
from glora_lab.adapters.stock.snippet import config_snippet
from glora_lab.folders import folder_named
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Button, Dropdown, Text, row, show_only_if
from glora_lab.training.in_turn import in_turn

WHICH = "Which of the race's adapters is kept; the most accurate unless you choose."
KEEP = "Saves the adapter as PEFT does, and shows the code that loads it."


class KeepControls(widgets.VBox):
    """Which adapter, where there are several, a folder and a button; `kept` is where the latest was saved.

    `which` stays where a reader puts it until others are offered.
    """

    def __init__(self, on_keep: Callable[[], None]) -> None:
        self.kept: Path | None = None
        self._chosen = self._setting = False  # `which`: by a reader, by the panel
        self.code = ""
        self.which = Dropdown(description="adapter", says=WHICH, layout={"width": "380px"})
        show_only_if(False, self.which)
        self.folder = Text(
            "my_adapter", description="folder", says="The folder, beside the notebook, that the adapter is kept in."
        )
        look: dict[str, Any] = {"icon": "save", "disabled": True, "layout": {"width": "auto"}}
        self.button = Button(description="Keep this adapter", says=KEEP, **look)
        self.says = widgets.HTML()
        self.button.on_click(lambda _: on_keep())
        self.which.observe(self._which_changed, "value")
        place = row(self.which, self.folder, self.button)
        super().__init__([place, self.says])

    def offer(self, names: Sequence[str]) -> None:
        """These adapters are there to keep, the first of them chosen."""
        self._setting, self._chosen = True, False
        self.which.options = list(names)
        self.which.value = names[0]  # a Dropdown that began empty chooses nothing by itself
        self._setting = False
        show_only_if(len(names) > 1, self.which)

    def suggest(self, name: str) -> None:
        """Choose this one, unless a reader has chosen."""
        if not self._chosen:
            self._setting, self.which.value = True, name
            self._setting = False

    def save(self, model: PeftModel, base_in_code: str) -> Path:
        """Save the adapter in the folder that is named and say how it is loaded; ValueError where it can name none."""
        name = self.folder.value.strip()
        folder = Path(folder_named("folder", name))
        if folder.is_file():
            raise ValueError(f"`folder` (={name!r}) must be a folder; there is a file of that name")
        with saving(str(folder)) as new:  # PEFT's own adapters, too
            model.save_pretrained(str(new))
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        config = model.peft_config["default"]
        self.code = loading_code(config, base_in_code, str(folder) if name.startswith("~") else name)
        self.says.value = (
            f"<p>Saved in <b>{html.escape(name)}</b> ({size / 1024:.0f} kB). It loads again with</p>"
            f"<pre>{html.escape(self.code)}</pre>"
            f"<p>and its configuration is</p><pre>{html.escape(config_snippet(config))}</pre>"
        )
        self.kept = folder
        return folder

    @in_turn
    def _which_changed(self, _: object) -> None:
        self._chosen = not self._setting


def loading_code(config: object, base_in_code: str, folder: str) -> str:
    """Python that loads the adapter from its folder, as a variable `model`."""
    if isinstance(config, LoraConfig):
        ours = "from glora_lab import load_model\n" if "load_model(" in base_in_code else ""
        return f"from peft import PeftModel\n{ours}model = PeftModel.from_pretrained({base_in_code}, {folder!r})"
    return f"from glora_lab import load_adapter, load_model\nmodel = load_adapter({base_in_code}, {folder!r})"
