"""`show`: the picture of a record as plain data, with the same in words."""

from __future__ import annotations

from unittest import mock

import pytest

from glora_lab.panels import show
from glora_lab.panels.figure_slot import PLOTLY
from glora_lab.records import Cost, CostReport, Record

REPORT = CostReport((Cost("LoRA", "LoRA", 10, 1, 2048, 3, 12, 1.0),), model="tiny")


def shown(what: object) -> list:
    with mock.patch("glora_lab.panels.show.display") as display:
        show(what)
    return [call.args[0] for call in display.call_args_list]


def test_a_cost_report_is_a_picture_and_its_words() -> None:
    picture, words = shown(REPORT)
    assert picture[PLOTLY]["layout"]["title"]["text"] == "<b>LoRA</b> on tiny: 10 FLOPs a step, 2 KiB kept"
    assert picture["text/plain"] in words.data and "2 KiB kept for backward" in picture["text/plain"]


@pytest.mark.parametrize("what", [REPORT.rows[0], {}, "LoRA"])
def test_what_has_no_picture_is_refused(what: Record | object) -> None:
    with pytest.raises(ValueError, match=r"has no picture; these have one: .*CostReport"):
        shown(what)
