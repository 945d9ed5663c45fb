"""Five rows of buttons: what they offer, what they say, and that they call back once."""

from __future__ import annotations

from glora_lab.adapters.glora.paths import MODES, PATHS
from glora_lab.page.controls.modes import PRESETS, ModeControls


def test_every_mode_is_offered_and_read_back() -> None:
    changes: list[dict[str, str]] = []
    controls = ModeControls({"B": "lora"}, lambda: changes.append(controls.modes))
    assert {path: buttons.options for path, buttons in controls.buttons.items()} == MODES
    assert controls.modes == {"A": "none", "B": "lora", "C": "none", "D": "none", "E": "none"}
    controls.buttons["A"].value = "vector"
    assert changes == [{**dict.fromkeys(PATHS, "none"), "A": "vector", "B": "lora"}]
    assert all(buttons.description == path for path, buttons in controls.buttons.items())


def test_setting_all_five_calls_back_once() -> None:
    calls: list[int] = []
    controls = ModeControls({}, lambda: calls.append(1))
    controls.set_modes({"A": "lora", "E": "vector"})
    assert calls == [1] and controls.modes["A"] == "lora" and controls.modes["B"] == "none"


def test_rows_tell_parameters_and_why_a_path_is_inert() -> None:
    controls = ModeControls({}, lambda: None)
    controls.show_params({"A": 1234}, {"D": "no <bias>"})
    notes = [row.children[1].value for row in controls.children]
    assert "<b>1,234</b>" in notes[0] and "1,234" not in notes[1]
    assert "<b>inert</b>" in notes[3] and 'title="no &lt;bias&gt;"' in notes[3] and "inert" not in notes[4]


def test_presets_are_settings_of_the_five_paths() -> None:
    for modes in PRESETS.values():
        assert all(mode in MODES[path] and mode != "none" for path, mode in modes.items())
    assert len({tuple(sorted(modes.items())) for modes in PRESETS.values()}) == len(PRESETS)
