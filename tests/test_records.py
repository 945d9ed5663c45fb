"""Records: equal by value, tables that cannot inject markup, rows for pandas, and shapes that are checked."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from glora_lab.records import PathBudget, PathCount, PathPicture, Predictions, Record, Run, Step

counts = st.builds(
    PathCount,
    layer=st.text(max_size=8),
    path=st.sampled_from("ABCDE"),
    mode=st.sampled_from(["lora", "vector", "constant", "none"]),
    params=st.integers(0, 10**9),
    inert=st.sampled_from(["", "the layer has no bias"]),
)
budgets = st.builds(PathBudget, rows=st.lists(counts, max_size=20).map(tuple), model_params=st.integers(0, 10**9))


def predictions(**changes: np.ndarray) -> Predictions:
    fields = {
        "images": np.zeros((3, 8, 8)),
        "labels": np.array([0, 1, 2]),
        "predicted": np.array([0, 1, 1]),
        "confidence": np.array([0.9, 0.8, 0.4]),
    }
    return Predictions(**{**fields, **changes})


def picture(**changes: object) -> PathPicture:
    weight, bias = np.ones((4, 3)), np.ones(4)
    words = {name: {} for name in ("modes", "params", "inert")}
    weights = dict.fromkeys(("w0", "w0a", "b", "w_eff"), weight)
    biases = dict.fromkeys(("b0", "b0d", "e", "w0c", "b_eff"), bias)
    fields = {"layer": "l", "form": "elementwise", **words, **weights, **biases, "rank_w0a": 1, "rank_b": 1}
    return PathPicture(**{**fields, **changes})


@given(budgets)
def test_a_record_equals_its_copy_and_no_other_kind(budget: PathBudget) -> None:
    assert budget == dataclasses.replace(budget)
    assert budget != dataclasses.replace(budget, model="another")
    assert budget != Step(index=1, loss=0.0, metric=0.0, seconds=0.0)


def test_arrays_are_compared_entry_by_entry() -> None:
    assert predictions() == predictions()
    assert predictions() != predictions(predicted=np.array([0, 1, 2]))
    assert picture() == picture() != picture(b=np.zeros((4, 3)))


def test_records_are_frozen_and_have_no_hash() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture().layer = "other"
    with pytest.raises(TypeError, match="unhashable"):
        hash(picture())


@given(budgets)
def test_a_budget_adds_up_however_it_is_cut(budget: PathBudget) -> None:
    assert budget.total == sum(budget.by_path().values()) == sum(budget.by_layer().values())
    assert set(budget.inert()) == {row.path for row in budget.rows if row.inert}
    if budget.model_params:
        assert budget.share == budget.total / budget.model_params
    else:
        assert np.isnan(budget.share)


@given(budgets)
def test_rows_become_a_table_of_pandas(budget: PathBudget) -> None:
    table = pd.DataFrame(budget.to_dicts())
    assert len(table) == len(budget.rows)
    assert not len(table) or table["params"].sum() == budget.total


def test_arrays_are_named_by_shape_and_a_run_leaves_its_steps_out() -> None:
    assert picture().to_dicts()[0]["w0"] == "array (4, 3)"
    run = Run(name="LoRA", params=10, metric=0.5, seconds=1.234, steps=(Step(1, 2.0, 0.1, 0.0),))
    assert run.to_dicts() == [{"name": "LoRA", "params": 10, "accuracy": 0.5, "seconds": 1.23}]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    tags = Tags()
    tags.feed(PathCount(f"<script>{text}", path="<b>", mode="&amp;", params=1)._repr_html_())
    assert tags.seen == {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    rows = tuple(PathCount(f"layer.{n}", "B", "lora", n) for n in range(20))
    shown = PathBudget(rows)._repr_html_()
    assert "layer.11" in shown and "layer.12" not in shown and "and 8 more rows" in shown
    assert PathBudget(())._repr_html_() == "<p>PathBudget: empty</p>"


def test_accuracy_is_the_share_of_right_answers() -> None:
    assert predictions().accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: predictions(labels=np.array([0, 1])),
        lambda: predictions(confidence=np.array([1, 0, 1])),
        lambda: picture(w0a=np.ones((3, 4))),
        lambda: picture(b_eff=np.ones(3)),
        lambda: picture(w0="not an array"),
        lambda: PathCount(layer="l", path="A", mode="lora", params=1.5),
    ],
)
def test_a_wrong_shape_or_type_is_refused_in_tests(make: object) -> None:
    with pytest.raises(TypeCheckError):
        make()


def test_every_record_is_checked() -> None:
    ours = [record for record in Record.__subclasses__() if record.__module__.startswith("glora_lab.")]
    assert len(ours) > 20  # tests may define others
    for record in ours:
        assert dataclasses.is_dataclass(record)
        with pytest.raises(TypeCheckError):
            record(**{field.name: object() for field in dataclasses.fields(record)})
