"""The atlas as data for the page: the colours and words of the figure, and names that tell rows and columns apart."""

from __future__ import annotations

import json

from glora_lab.figures import describe_outliers
from glora_lab.ideas.outliers.figure_atlas_cells import atlas_cells
from glora_lab.records import LayerOutliers, Outliers

ROWS = (
    LayerOutliers("bert.encoder.layer.0.attention.output.dense", 3, 100.0, 3, 2.0, 1.5),
    LayerOutliers("bert.encoder.layer.0.output.dense", 4, 1.0, -1, 0.0, 0.0),
    LayerOutliers("bert.decoder.layer.0.output.dense", 5, 2.0, 8, 10.0, 1.0),
    LayerOutliers("classifier", 1, 3.0, 1, 3.0, 2.5),
)
ATLAS = Outliers(ROWS, tokens=12)


def test_cells_stand_where_their_layers_are_and_say_them() -> None:
    cells = atlas_cells(ATLAS)
    assert json.loads(json.dumps(cells)) == cells
    assert cells["rows"] == ["encoder.layer.0", "decoder.layer.0", "(apart)"]
    assert cells["columns"] == ["attention.output.dense", "output.dense", "classifier"]
    inputs, gradients = cells["maps"]
    assert [[cell and cell["at"] for cell in row] for row in inputs] == [[0, 1, None], [None, 2, None], [None, None, 3]]
    assert inputs[0][0]["text"] == ["3", "100×"] and gradients[1][1]["text"] == ["8", "10×"]
    assert gradients[1][1]["words"] == "bert.decoder.layer.0.output.dense; channel 8: 10 times the median; " + (
        "stable rank of G 1"
    )
    assert cells["says"] == describe_outliers(ATLAS) and cells["finding"][0].startswith("Channel 3 of ")


def test_colours_go_from_dark_to_bright_with_text_that_can_be_read_over_them() -> None:
    inputs, gradients = atlas_cells(ATLAS)["maps"]
    brightest, darkest = inputs[0][0], inputs[0][1]
    assert (brightest["color"], brightest["ink"]) == ("#FEE838", "#000000")
    assert (darkest["color"], darkest["ink"]) == ("#00224E", "#FFFFFF")
    nothing = gradients[0][1]
    assert (nothing["color"], nothing["text"]) == ("", ["none", ""]) and nothing["words"].endswith("; nothing")
    scale = atlas_cells(ATLAS)["scale"]
    assert scale["colors"][0] == "#00224E" and scale["colors"][-1] == "#FEE838"
    assert scale["marks"][0] == [0.0, "1×", True] and scale["marks"][-1] == [1.0, "100×", True]
    assert [text for _, text, always in scale["marks"] if always] == ["1×", "10×", "100×"]
