"""The atlas drawn: one scale, cells that say channel and size, and in words what stands out."""

from __future__ import annotations

import math

import pytest

from glora_lab.figures import describe_outliers, plot_outliers
from glora_lab.records import LayerOutliers, Outliers

ROWS = (
    LayerOutliers("bert.layer.0.query", 3, 10.0, 3, 2.0, 1.5),
    LayerOutliers("bert.layer.0.value", 4, 1.5, 9, 100.0, 1.0),
    LayerOutliers("bert.layer.1.query", 5, 2.0, -1, 0.0, 0.0),
    LayerOutliers("classifier", 1, 3.0, 1, 3.0, 2.5),
)
ATLAS = Outliers(ROWS, tokens=1234)


def test_each_cell_is_a_layer_and_both_maps_have_one_scale() -> None:
    figure = plot_outliers(ATLAS)
    inputs, gradients = figure.data
    assert inputs.x == gradients.x == ("query", "value", "classifier")
    assert inputs.y == gradients.y == ("bert.layer.0", "bert.layer.1", "(apart)")
    assert list(inputs.z[0])[:2] == pytest.approx([1.0, math.log10(1.5)])
    assert inputs.z[1][1] is None and gradients.z[1][0] is None
    assert inputs.text[0][0] == "3<br>10×" and gradients.text[0][1] == "9<br>100×" and gradients.text[1][0] == ""
    assert inputs.coloraxis == gradients.coloraxis == "coloraxis"
    assert figure.layout.coloraxis.cmax == pytest.approx(2.0) and figure.layout.coloraxis.cmin == 0
    assert "channel 9: 100 times the median<br>stable rank of G 1" in gradients.customdata[0][1]


def test_the_title_names_the_strongest_of_both() -> None:
    title = plot_outliers(ATLAS).layout.title.text
    assert title.startswith("Channel 3 of bert.layer.0.query's inputs is 10 times the median;")
    assert "column 9 of bert.layer.0.value's gradient 100 times" in title
    without = Outliers((ROWS[2],), tokens=5)
    assert plot_outliers(without).layout.title.text == "Channel 5 of bert.layer.1.query's inputs is 2 times the median"


def test_in_words() -> None:
    assert describe_outliers(ATLAS) == (
        "4 linear layers, 1,234 tokens; 1 of them have an input channel above 5 medians, 1 a column of the gradient; "
        "the strongest input is channel 3 of bert.layer.0.query, 10 times the median; the strongest column of a "
        "gradient is 9 of bert.layer.0.value, 100 times; in 2 layers both are one channel; the gradients' stable "
        "ranks go from 1 to 2.5."
    )


def test_many_cells_are_not_written_into_and_none_is_refused() -> None:
    many = Outliers(tuple(LayerOutliers(f"layer.{n}.a", 0, 1.0, 0, 1.0, 1.0) for n in range(65)), tokens=1)
    assert plot_outliers(many).data[0].texttemplate is None and plot_outliers(ATLAS).data[0].texttemplate == "%{text}"
    with pytest.raises(ValueError, match=r"`outliers` \(=\(\)\) must have at least one layer"):
        plot_outliers(Outliers((), tokens=0))


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    row = LayerOutliers("layer.0.<b>a", 0, 9.0, 0, 9.0, 1.0)
    assert "&lt;b&gt;a" in plot_outliers(Outliers((row,), tokens=1)).layout.title.text
