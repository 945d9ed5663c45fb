"""Spectra drawn: the values by index, far ones in powers of ten, and how many of them count."""

from __future__ import annotations

import numpy as np

from glora_lab.figures import describe_delta_spectrum, plot_delta_spectrum
from glora_lab.records import Spectrum

NEAR = Spectrum("encoder.0.query", np.array([4.0, 3.0, 0.0]), 2.0)  # 16 and 9 of an energy of 25
FAR = Spectrum("encoder.0.query", np.array([1.0, 0.1, 1e-3]), 1.4)


def test_values_stand_at_their_index_and_zeros_are_left_out():
    figure = plot_delta_spectrum(NEAR)
    (line,) = figure.data
    assert line.x == (1, 2) and line.y == (4, 3)
    assert figure.layout.yaxis.rangemode == "tozero" and figure.layout.yaxis.type is None
    assert figure.layout.title.text == "<b>encoder.0.query</b>: effective rank 2.0 of 2"
    assert not figure.layout.showlegend


def test_values_far_apart_are_drawn_in_powers_of_ten():
    figure = plot_delta_spectrum(FAR)
    assert figure.layout.yaxis.type == "log" and figure.data[0].y == (1, 0.1, 1e-3)


def test_several_by_name():
    figure = plot_delta_spectrum({"LoRA": NEAR, "GraLoRA": FAR})
    assert [line.name for line in figure.data] == ["LoRA, effective rank 2.0", "GraLoRA, effective rank 1.4"]
    assert figure.data[0].line.color != figure.data[1].line.color and figure.layout.showlegend
    assert figure.layout.title.text == "<b>LoRA</b> changes the weight in the most directions"
    says = describe_delta_spectrum({"LoRA": NEAR, "GraLoRA": FAR})
    assert says.startswith("LoRA, layer encoder.0.query: 2 singular") and " GraLoRA, layer encoder.0.query: 3" in says


def test_the_words():
    assert describe_delta_spectrum(NEAR) == (
        "Layer encoder.0.query: 2 singular values from 4 down to 3; the first 2 hold 90% of the energy, and the "
        "effective rank is 2.0."
    )
    assert "the first holds 90%" in describe_delta_spectrum(FAR)
    one = Spectrum("x", np.array([0.5]), 1.0)
    assert describe_delta_spectrum(one) == "Layer x: one singular value, 0.5."


def test_nothing_has_changed():
    zero = Spectrum("x", np.zeros(3), 0.0)
    assert plot_delta_spectrum(zero).layout.title.text == "<b>x</b>: ΔW is zero, nothing has changed yet"
    assert plot_delta_spectrum(zero).data[0].y == ()
    assert describe_delta_spectrum(zero) == "Layer x: ΔW is zero, nothing has changed yet."


def test_names_are_no_markup():
    figure = plot_delta_spectrum(Spectrum("<i>", np.ones(2), 2.0))
    assert "<i>" not in figure.layout.title.text and "&lt;i&gt;" in figure.data[0].name


def test_directions_for_a_share_of_the_energy():
    assert NEAR.norm == 5 and NEAR.directions_for(0.64) == 1 and NEAR.directions_for(0.65) == 2
    assert NEAR.directions_for(1.0) == 2
