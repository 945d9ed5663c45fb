"""How the sentences of `docstrings.json` were found: `python -m glora_lab.data.gather_docstrings [--out FILE]`.

It reads the docstrings of eight installed packages without importing them. The wording changes with each version, so
the file is kept and not made anew by whoever loads the task; the file names the versions that it was made of. All
eight allow that under their licences, which it names too: three-clause BSD of NumPy, SciPy, scikit-learn, pandas,
SymPy, NetworkX and PyTorch, Apache-2.0 of transformers. Names of the eight, and what marks code up, are taken for
giveaways: a sentence with such a name is left out, marks are taken off.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np

from glora_lab.folders import folder_named

from .text import without_repeats

# what is imported → what is installed, licence, and whose it is
PACKAGES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "networkx": ("networkx", "BSD-3-Clause", "NetworkX Developers"),
        "numpy": ("numpy", "BSD-3-Clause", "NumPy Developers"),
        "pandas": ("pandas", "BSD-3-Clause", "AQR Capital Management, Lambda Foundry, PyData Development Team"),
        "scipy": ("scipy", "BSD-3-Clause", "Enthought, SciPy Developers"),
        "sklearn": ("scikit-learn", "BSD-3-Clause", "The scikit-learn developers"),
        "sympy": ("sympy", "BSD-3-Clause", "SymPy Development Team"),
        "torch": ("torch", "BSD-3-Clause", "Facebook and the contributors that PyTorch's LICENSE names"),
        "transformers": ("transformers", "Apache-2.0", "The Hugging Face team"),
    }
)
SENTENCES = 500  # of each package
WORDS, CHARACTERS = range(5, 26), range(30, 161)
REPEATED = 32  # characters in a row that no two sentences share
LEFT_OUT = {"tests", "test", "testing", "__pycache__", "_vendor", "externals"}
NAMES = re.compile(
    r"num(py|pi)|\bnp\b|scipy|scikit|sklearn|pandas|\bpd\b|sympy|networkx|torch|hugging|transformers", re.I
)
MARKS = re.compile(r":[\w:]+:(?=`)|`~?|`+|\*+|[\[\]<>]")


def sentences_of(root: str) -> Iterator[str]:
    """The first sentence of each docstring under a folder, in the order of the files' names."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(set(inner) - LEFT_OUT)
        for file in sorted(name for name in files if name.endswith(".py")):
            with open(os.path.join(folder, file), encoding="utf-8") as source:
                try:
                    tree = ast.parse(source.read())
                except SyntaxError:  # of a later Python
                    continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    paragraph = re.split(r"\n\s*\n", (ast.get_docstring(node) or "").strip())[0]
                    if found := re.match(r"(.+?\.)(\s|$)", " ".join(paragraph.split())):
                        yield MARKS.sub("", found[1])


def fair(sentence: str) -> bool:
    """Whether it is a sentence of some length, and names none of the packages."""
    short_enough = len(sentence) in CHARACTERS and len(sentence.split()) in WORDS
    return short_enough and sentence.isascii() and sentence[0].isupper() and not NAMES.search(sentence)


def chosen(found: Mapping[str, Sequence[str]], count: int = SENTENCES) -> dict[str, list[str]]:
    """So many of each package's: none that another has too, and none that says much the same as another."""
    everywhere = [(name, sentence) for name, its in found.items() for sentence in dict.fromkeys(filter(fair, its))]
    order = np.random.RandomState(0).permutation(len(everywhere))
    shuffled = [everywhere[n] for n in order]
    of: dict[str, set[str]] = {}
    for name, sentence in shuffled:
        of.setdefault(sentence.lower(), set()).add(name)
    kept = set(without_repeats((s.lower() for _, s in shuffled if len(of[s.lower()]) == 1), REPEATED))
    dealt: dict[str, list[str]] = {name: [] for name in found}
    for name, sentence in shuffled:
        if sentence.lower() in kept and len(dealt[name]) < count:
            kept.remove(sentence.lower())
            dealt[name].append(sentence)
    return {name: sorted(its) for name, its in dealt.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m glora_lab.data.gather_docstrings", description=__doc__)
    kept = Path(__file__).parent / "docstrings.json"
    parser.add_argument("--out", default=kept, help="the file to write (default: %(default)s)")
    out = Path(folder_named("out", parser.parse_args(arguments).out))
    found = {}
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{package} is not installed here")
        found[package] = list(sentences_of(os.path.dirname(spec.origin)))
    packages = [
        {
            "name": name,
            "version": version(name).partition("+")[0],
            "licence": licence,
            "copyright": whose,
            "sentences": sentences,
        }
        for (name, licence, whose), sentences in zip(PACKAGES.values(), chosen(found).values(), strict=True)
    ]
    out.write_text(json.dumps(packages, indent=0) + "\n", encoding="utf-8")
    print(f"{out}: {sum(len(one['sentences']) for one in packages):,} sentences of {len(packages)} packages")


if __name__ == "__main__":
    main()
