"""Sphinx's settings for the site: `make site`.

Decisions. Sphinx with myst-nb, and not Jupyter Book: its second version takes its theme from the network while it
builds, and its first is Sphinx with myst-nb behind a file of its own. The notebooks are executed before, by the tests,
and prepared by `docs/gather.py`; nothing runs here. furo, because a page of it weighs a tenth of a megabyte, asks no
other host, and has a dark form.
"""

import inspect
import re
from dataclasses import is_dataclass
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

from docs.names import named
from glora_lab import __version__

project = "glora_lab"
author = copyright = "the authors of glora_lab"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True

smartquotes = False  # code in the text stays code
default_role = "name"  # in a docstring, see docs/names.py
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 110  # of names in full, which are shown without what they are in
python_trailing_comma_in_multi_line_signatures = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["State"]
napoleon_use_rtype = False
napoleon_use_ivar = True  # a field of a record: once, with its type

html_theme = "furo"
html_title = "glora_lab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

CONSTANT = re.compile(r"(?<== )[A-Z][A-Z_]+\b")

# Of the pages as made: a fold is called what is written on it, and what scrolls can be reached by the keyboard.
MENDED = {
    '<summary aria-label="Toggle hidden content">': "<summary>",
    "<pre>": '<pre tabindex="0">',
    ">Variables<": ">Fields<",
}


def setup(app: Sphinx) -> None:
    app.add_role("name", named)
    app.connect("html-page-context", mend)
    app.connect("doctree-read", dashes)
    app.connect("autodoc-process-signature", own_arguments)
    app.connect("autodoc-process-docstring", short_types, priority=600)  # once napoleon has read it


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    for old, new in MENDED.items():
        context["body"] = context.get("body", "").replace(old, new)


def dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Between a name and what it means; Sphinx leaves this to smartquotes."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def short_types(app: Sphinx, kind: str, name: str, what: Any, options: Any, lines: list[str]) -> None:
    """A field's type without the modules of what it names, `Mapping` for `collections.abc.Mapping`, and without the
    space before a single axis, which keeps linters from taking it for a name."""
    for n, line in enumerate(lines):
        if line.startswith(":vartype "):
            lines[n] = re.sub(r"\b(?=(\w+\.)+\w)(?<!\.)", "~", line).replace('" ', '"')


def own_arguments(app: Sphinx, kind: str, name: str, what: Any, options: Any, told: str, returns: str) -> Any:
    """A panel's own arguments, where Sphinx sees those of `__new__`, which takes any; those of a record or a
    configuration without types, which stand with its fields; and a default's value where it is given by name."""
    if kind in ("function", "method"):
        known = getattr(inspect.unwrap(what), "__globals__", {})
        plain = {n: repr(known[n]) for n in CONSTANT.findall(told or "") if isinstance(known.get(n), int | float | str)}
        return CONSTANT.sub(lambda found: plain.get(found[0], found[0]), told or ""), returns
    if kind != "class" or not inspect.isfunction(what.__init__):
        return None
    if is_dataclass(what) or "*args" in (told or ""):
        shown = signature(what.__init__, bound_method=True)
        return stringify_signature(
            shown, show_annotation=not is_dataclass(what), show_return_annotation=False, unqualified_typehints=True
        ), ""
    return None
