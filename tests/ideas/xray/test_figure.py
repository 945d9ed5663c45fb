"""An X-ray drawn: blocks down, modules across, the ten strongest beside, and one layer's spectrum and parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glora_lab.figures import describe_xray, describe_xray_layer, plot_xray, plot_xray_layer
from glora_lab.records import Spectrum, XrayLayer, XrayReport

NAN = float("nan")


def layer(name: str = "model.layers.0.mlp.up", norm: float = 5.0, **changes: object) -> XrayLayer:
    """Two singular values of 3 and 4 fifths of the norm."""
    fields = {
        "shape": (8, 6),
        "r": 2,
        "params": 28,
        "spectrum": Spectrum(name, norm * np.array([0.8, 0.6]), 1.9),
        "parts": {"B": norm},
    }
    return XrayLayer(name, norm=norm, **{**fields, **changes})  # type: ignore[arg-type]


def lora(**changes: object) -> XrayReport:
    rows = (
        layer("model.layers.0.mlp.up", 1.0),
        layer("model.layers.0.attn.q", 2.0),
        layer("model.layers.1.mlp.up", 4.0),
        layer("head", 2.0),
    )
    return XrayReport(**{"rows": rows, "method": "LoRA", "base_name": "tiny", **changes})  # type: ignore[arg-type]


def glora_layer(**changes: object) -> XrayLayer:
    parts = {"A": 3.0, "B": 4.0, "C": 0.5, "E": 0.5}
    return layer(**{"norm": 5.0, "parts": parts, **changes})  # type: ignore[arg-type]


def unknown_layer() -> XrayLayer:
    return glora_layer(norm=4.0, parts={"A": NAN, "B": 4.0, "D": NAN}, unknown=("A", "D"))


def blocks(**changes: object) -> XrayLayer:
    return layer(block_norms=np.array([[1.0, 2.0], [2.0, 4.0]]), **changes)  # type: ignore[arg-type]


def test_blocks_go_down_and_modules_across():
    figure = plot_xray(lora())
    cells, bars = figure.data
    assert cells.y == ("0", "1", "(apart)") and cells.x == ("mlp.up", "attn.q", "head")
    assert [list(line) for line in cells.z] == [[1, 2, None], [4, None, None], [None, None, 2]]
    assert (cells.zmin, cells.zmax) == (0, 4) and figure.layout.yaxis.title.text == "model.layers.…"
    assert list(bars.x) == [4, 2, 2, 1] and (bars.xaxis, bars.yaxis) == ("x2", "y2")
    assert [name.strip("\u200b") for name in bars.y] == ["1.mlp.up", "0.attn.q", "head", "0.mlp.up"]
    assert len(set(bars.y)) == 4
    assert cells.texttemplate == "%{z:.3g}" and list(bars.text) == ["4", "2", "2", "1"]  # as many digits in both
    assert figure.layout.xaxis.tickangle == 0
    assert figure.layout.title.text == "<b>LoRA</b>, 112 parameters in 4 layers: <b>1.mlp.up</b> changes most"


def test_the_cells_show_what_is_chosen():
    report = XrayReport((glora_layer(), unknown_layer()), "GLoRA")
    figure = plot_xray(report, "effective rank")
    assert figure.layout.annotations[0].text == "effective rank of ΔW" and figure.data[0].z[0][0] == 1.9
    share = plot_xray(XrayReport((glora_layer(),), "GLoRA"), "A")
    assert (share.data[0].meta, figure.data[0].meta) == ({"path": "A"}, None)  # for the page to light up
    assert share.data[0].z[0][0] == pytest.approx(9 / 25) and share.data[0].zmax == 1
    assert share.layout.annotations[0].text == "share of the energy, path A"
    assert plot_xray(XrayReport((unknown_layer(),), "GLoRA"), "A").data[0].z[0][0] is None
    block = plot_xray(XrayReport((blocks(),), "GraLoRA"), "1,0")
    assert block.data[0].z[0][0] == block.data[0].zmax == pytest.approx(4 / 25)
    assert block.layout.annotations[0].text == "share of the energy, block m 1, n 0"
    with pytest.raises(ValueError, match=r"`values` \(='A'\) must be one of 'norm', 'effective rank'$"):
        plot_xray(lora(), "A")


def test_many_layers_keep_their_numbers_for_the_pointer_and_their_names_short():
    rows = tuple(layer(f"model.layers.{n}.some_attention.very_long_projection", n + 1.0) for n in range(100))
    figure = plot_xray(XrayReport(rows, "LoRA"))
    assert figure.data[0].texttemplate is None and len(figure.data[1].x) == 10 and figure.layout.yaxis.dtick is None
    assert figure.data[1].y[0] == "…on.very_long_projection" and len(set(figure.data[1].y)) == 10
    assert figure.data[1].customdata[0].startswith("model.layers.99.")
    assert figure.layout.xaxis.tickangle == 0 and figure.layout.margin.b == 40  # a single name lies level
    several = tuple(layer(f"model.layers.0.{name}_projection", 1.0) for name in ("query", "key", "value"))
    slanting = plot_xray(XrayReport(several, "LoRA")).layout
    assert slanting.xaxis.tickangle == -35 and slanting.margin.b == 84
    assert plot_xray(lora()).data[0].texttemplate and plot_xray(lora()).layout.yaxis.dtick == 1


def test_the_summary_in_words():
    assert describe_xray(lora(others=("head.weight",), notes=("A note.",))) == (
        "LoRA of tiny: 112 parameters in 4 layers. All ΔW together have the norm 5; the largest are those of "
        "model.layers.1.mlp.up (4), model.layers.0.attn.q (2) and head (2). Effective ranks run from 1.9 to 1.9. "
        "Beside it, 1 tensor trained whole: head.weight. A note."
    )
    says = describe_xray(XrayReport((glora_layer(), unknown_layer()), "GLoRA"))
    assert "Over all layers the paths add A 3, B 5.66, C 0.5 and E 0.5." in says
    assert "What A and D may add is unknown without the base model, and not in these numbers." in says
    assert "In 1 layer the spectrum was not asked" in describe_xray(XrayReport((layer(spectrum=None),), "GLoRA"))


def test_a_fresh_adapter_and_one_of_which_nothing_is_known():
    for row in (layer(norm=0.0), layer(norm=NAN, spectrum=None, parts={"A": NAN}, unknown=("A",))):
        report = XrayReport((row,), "GLoRA")
        assert plot_xray(report).layout.title.text.endswith("1 layer: no ΔW is known to differ from zero")
        assert "No ΔW is known to differ from zero." in describe_xray(report)
        assert plot_xray_layer(row).layout.title.text


def test_names_are_no_markup():
    report = XrayReport((layer("a.0.<i>"),), "LoRA")
    assert "<i>" not in plot_xray(report).to_json() and "<i>" not in plot_xray_layer(report.rows[0]).to_json()


def test_a_layer_of_lora_is_its_spectrum():
    figure = plot_xray_layer(layer())
    (line,) = figure.data
    assert line.y == (4, 3) and figure.layout.xaxis.domain == (0, 1)
    assert figure.layout.title.text == "<b>model.layers.0.mlp.up</b>: ΔW has norm 5 and effective rank 1.9"
    assert "paths" not in describe_xray_layer(layer())


def test_a_layer_of_gralora_shows_its_blocks():
    figure = plot_xray_layer(blocks())
    _, cells = figure.data
    assert cells.z.tolist() == [[1, 2], [2, 4]] and cells.zmax == 4 and cells.xaxis == "x2"
    assert figure.layout.yaxis2.range == (1.5, -0.5) and figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert "Of 4 blocks m 1, n 1 is the largest, with 64% of the energy." in describe_xray_layer(blocks())


def test_the_spectrum_has_the_colour_of_the_reports_method():
    colors = [plot_xray_layer(layer(), method).data[0].line.color for method in ("LoRA", "GLoRA", "GraLoRA")]
    assert colors == ["#489CCC", "#9030CC", "#FC600C"]


def test_a_layer_of_glora_shows_its_paths_the_unknown_ones_named():
    _, *bars = plot_xray_layer(unknown_layer()).data
    assert [(*bar.y, *bar.x, *bar.text) for bar in bars] == [
        ("A", 0, "unknown without the base"),
        ("B", 4, "4"),
        ("D", 0, "unknown without the base"),
    ]
    assert [bar.meta for bar in bars] == [{"path": "A"}, {"path": "B"}, {"path": "D"}]  # each lights up by itself
    assert "(what is known of it)" in plot_xray_layer(unknown_layer()).layout.title.text
    assert describe_xray_layer(unknown_layer()).endswith("Its paths add B 4. Unknown without the base model: A and D.")


def test_a_layer_without_spectrum_says_why():
    large = plot_xray_layer(layer(spectrum=None))
    assert large.data == () and large.layout.annotations[0].text == "no spectrum: the layer is too large"
    alone = layer(norm=NAN, spectrum=None, parts={"A": NAN}, unknown=("A",))
    assert "no spectrum, ΔW needs the base model" in describe_xray_layer(alone)


def test_rows_and_shares_of_the_record():
    report = lora()
    assert report.norm == 5 and report.params == 112 and report.row("head").norm == 2
    with pytest.raises(KeyError):
        report.row("tail")
    assert math.isnan(layer().share("A")) and layer().share("B") == 1 and math.isnan(layer(norm=0.0).share("B"))
    assert report.cell("vit.layers.2.mlp.fc1") == ("vit.layers.2", "mlp.fc1") and report.cell("0") == ("", "0")
    assert report.to_dicts()[2] == {
        "layer": "model.layers.1.mlp.up", "out": 8, "in": 6, "r": 2, "params": 28,
        "norm": 4.0, "effective rank": 1.9, "B": 4.0,
    }  # fmt: skip
    assert XrayReport((layer("a.b.0.x"), layer("a.c.0.x")), "LoRA").stem() == "a."
