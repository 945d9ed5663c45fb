"""Keeping an adapter: a folder that PEFT's `save_pretrained` writes, and the words to load it again."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
from peft import PeftModel


class KeepControls(widgets.VBox):
    """A folder and a button; `kept` is where the latest adapter was saved."""

    def __init__(self, on_keep: Callable[[], None]) -> None:
        self.kept: Path | None = None
        self.folder = widgets.Text("my_adapter", description="folder")
        self.button = widgets.Button(
            description="Keep this adapter", icon="save", disabled=True, layout={"width": "auto"}
        )
        self.says = widgets.HTML()
        self.button.on_click(lambda _: on_keep())
        super().__init__([widgets.HBox([self.folder, self.button]), self.says])

    def save(self, model: PeftModel, base_in_code: str) -> Path:
        """Save the adapter in the folder that is named and say how it is loaded; ValueError without a name."""
        name = self.folder.value.strip()
        if not name:
            raise ValueError("`folder` (='') must name a folder for the adapter")
        folder = Path(name).expanduser()
        if folder.is_file():
            raise ValueError(f"`folder` (={name!r}) must be a folder; there is a file of that name")
        model.save_pretrained(str(folder))
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        code = f"from glora_lab import load_adapter, load_model\nmodel = load_adapter({base_in_code}, {name!r})"
        self.says.value = (
            f"<p>Saved in <b>{html.escape(name)}</b> ({size / 1024:.0f} kB). It loads again with</p>"
            f"<pre>{html.escape(code)}</pre>"
        )
        self.kept = folder
        return folder
