"""XrayPanel: a folder is opened, a layer chosen, and the state is what the measure says."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import pytest
from peft import LoraConfig, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.figures import describe_xray, describe_xray_layer
from glora_lab.measure import xray
from glora_lab.panels import XrayPanel, show
from tests.adapters.small_models import Net

TARGETS = ["encoder", "decoder"]


def trained(config: object) -> nn.Module:
    model = get_peft_model(Net(), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained(LoraConfig(r=2, target_modules=TARGETS)).save_pretrained(tmp_path)
    return tmp_path


def test_it_waits_for_a_folder(folder: Path) -> None:
    panel = XrayPanel()
    assert panel.report is None and panel.spectrum is None and panel.errors == [] and panel.problem == ""
    assert panel.layer_figure not in shown(panel)
    panel.folder.value = f"  {folder} "
    assert panel.report == xray(folder) and panel.spectrum is not None
    assert panel.figure.summary == describe_xray(panel.report)
    assert {panel.figure, panel.layer_figure} <= shown(panel)


def shown(box: widgets.Box) -> set[widgets.Widget]:
    return (
        {widget for child in box.children for widget in (child, *shown(child))}
        if isinstance(box, widgets.Box)
        else set()
    )


def test_it_starts_on_the_strongest_layer_and_follows_the_choice(folder: Path) -> None:
    panel = XrayPanel(folder)
    assert panel.folder.value == str(folder)
    assert panel.layer_choice.value == panel.report.strongest(1)[0].layer
    for layer in TARGETS:
        panel.layer_choice.value = layer
        assert panel.spectrum == panel.report.row(layer).spectrum
        assert panel.layer_figure.summary == describe_xray_layer(panel.report.row(layer))


def test_the_cells_show_what_is_chosen() -> None:
    panel = XrayPanel(trained(GraloraConfig(r=4, gralora_k=2, target_modules=["encoder"])))
    assert [value for _, value in panel.values.options] == ["norm", "effective rank", "0,0", "0,1", "1,0", "1,1"]
    panel.values.value = "1,0"
    assert panel.figure.figure.data[0].z[0][0] == pytest.approx(panel.report.rows[0].share("1,0"))
    panel.values.value = "effective rank"
    assert panel.figure.figure.data[0].z[0][0] == pytest.approx(panel.spectrum.effective_rank)
    assert panel.errors == []


def test_the_base_model_tells_what_the_paths_add(tmp_path: Path) -> None:
    trained(GloraConfig(r=2, target_modules=TARGETS)).save_pretrained(tmp_path)
    assert XrayPanel(tmp_path).report.unknown_paths() == ["A", "C", "D"]
    assert XrayPanel(tmp_path, Net()).report.unknown_paths() == []


def test_what_cannot_be_read_is_said_and_what_was_shown_stays(folder: Path) -> None:
    panel = XrayPanel(folder)
    before = panel.report
    panel.folder.value = "nowhere"
    assert (
        "`path_or_model` (='nowhere') must be a folder" in panel.problem
        and panel.errors == []
        and panel.report is before
    )
    panel.open_button.click()
    assert "nowhere" in panel.problem
    panel.folder.value = ""
    assert panel.report is None and panel.problem == "" and panel.errors == []
    panel.folder.value = str(folder)
    assert panel.problem == "" and panel.report == before


def test_another_adapter_replaces_values_and_layers(folder: Path) -> None:
    panel = XrayPanel(trained(GloraConfig(r=2, target_modules=["head"])))
    panel.values.value = "A"
    panel.folder.value = str(folder)
    assert set(panel.layer_choice.options) == set(TARGETS) and panel.values.value == "norm"
    assert panel.report.method == "LoRA" and panel.errors == []


def test_records_have_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = xray(folder)
    show(report)
    show(report.rows[0])
    show(report.rows[0].spectrum)
    shown = capsys.readouterr().out
    assert describe_xray(report) in shown and describe_xray_layer(report.rows[0]) in shown
