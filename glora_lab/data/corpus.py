"""The text that `bytes-llama` learnt to write from: the help topics that Python's `help()` prints.

They are the language reference, and come with CPython as `pydoc_data.topics`. Only sentences are kept: no program, no
table, no grammar. The wording changes with each Python, so the model's weights hang on the one that made them.
"""

from __future__ import annotations

from .text import unwrapped

SHORTEST = 40  # characters of a paragraph
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "—": "-", "–": "-"})


def pretraining_text() -> str:
    """About 260,000 characters of ASCII: paragraphs in a line each, in the order of their topics' names."""
    from pydoc_data.topics import topics

    paragraphs = unwrapped("\n\n".join(topics[name] for name in sorted(topics)).translate(PLAIN))
    sentences = [p for p in paragraphs if len(p) >= SHORTEST and p.endswith((".", ":"))]
    return "\n".join(sentences).encode("ascii", "ignore").decode()
