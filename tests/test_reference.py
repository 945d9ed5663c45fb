"""How the reference reads docstrings: which words between backticks are links, and what stands before a field."""

from __future__ import annotations

from typing import Any

import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes

from docs.conf import dashes, own_arguments, short_types
from docs.names import named
from glora_lab import plot_gradient_report, write
from glora_lab.adapters import GraloraConfig
from glora_lab.panels import ReachPanel
from glora_lab.records import PathBudget


def target(text: str) -> str:
    """Where it leads, "" where it is code alone."""
    (made,), messages = named("name", f"`{text}`", text)
    assert made.astext() == text and messages == []
    return str(made["reftarget"]) if isinstance(made, addnodes.pending_xref) else ""


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        ("path_budget", "glora_lab.measure.path_budget"),
        ("unknown_mix()", "glora_lab.checks.unknown_mix"),
        ("Descent.stable", "glora_lab.records.Descent.stable"),
        ("LabConfig.plan", "glora_lab.adapters.LabConfig.plan"),
        ("outliers", ""),  # a measure, and a field of a record
        ("errors", ""),
        ("target_modules", ""),
        ("~", ""),
        ("fit(model, task)", ""),
    ],
)
def test_a_public_name_leads_to_its_page(text: str, leads: str) -> None:
    assert target(text) == leads


def arguments(what: type, told: str) -> Any:
    return own_arguments(None, "class", what.__name__, what, None, told, "")  # type: ignore[arg-type]


def test_a_record_has_its_types_beside_its_fields_and_a_panel_its_own_arguments() -> None:
    assert arguments(PathBudget, "(rows: tuple)") == ("(rows, method='GLoRA', model='', model_params=0)", "")
    assert ": " not in arguments(GraloraConfig, "(r: int)")[0]
    assert arguments(ReachPanel, "(*args, **kwargs)")[0].startswith("(changes: ")
    assert arguments(ReachPanel, "(changes)") is None


def test_a_default_that_is_given_by_name_has_its_value() -> None:
    def told(what: Any, arguments: str) -> Any:
        return own_arguments(None, "function", what.__name__, what, None, arguments, "float")  # type: ignore[arg-type]

    assert told(plot_gradient_report, "(*, limit: float = LIMIT)") == ("(*, limit: float = 3.0)", "float")
    assert told(write, "(prompts: str = PROMPTS, seed: int = 0)") == (
        "(prompts: str = PROMPTS, seed: int = 0)",
        "float",
    )


def test_a_field_has_its_type_without_modules() -> None:
    lines = [
        ":ivar made: of a.b.",
        ":vartype made: collections.abc.Mapping[str, a.b.Step | None]",
        ':vartype x: Float[a, " n"]',
    ]
    short_types(None, "class", "Run", None, None, lines)  # type: ignore[arg-type]
    said = ":vartype made: ~collections.abc.Mapping[str, ~a.b.Step | None]"
    assert lines == [":ivar made: of a.b.", said, ':vartype x: Float[a, "n"]']


def test_a_dash_is_a_dash() -> None:
    paragraph = nodes.paragraph("", "", nodes.strong("", "r"), nodes.Text(" -- "), nodes.literal("", "a -- b"))
    document = new_document("page")
    document += paragraph
    dashes(None, document)  # type: ignore[arg-type]
    assert paragraph.astext() == "r – a -- b"
