"""What is installed and how it behaves, each in one line, and what to mend where something is."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from glora_lab import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "glora-lab"
MEND = 'pip install "glora-lab[lab]"'

# What JupyterLab draws with, and the package that brings each: without it a panel is a line of text.
EXTENSIONS = {
    "jupyterlab-plotly": "plotly",
    "@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets",
    "anywidget": "anywidget",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` says what to do, and is empty where all is well."""

    what: str
    says: str
    mend: str = ""


def examine() -> list[Finding]:
    """Every check, in the order in which they are read. One that fails to run is a finding itself."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("notebooks", _notebooks),
        ("renderer", _renderer),
        ("threads", _threads),
        ("GPU", _gpu),
        ("kernel", _kernel),
    ]
    return [finding for what, check in checks for finding in _carefully(what, check)]


def report(findings: list[Finding]) -> str:
    """The findings as lines of text, what to mend once more at the end."""
    wide = max(len(finding.what) for finding in findings)
    lines = [f"{'✗' if f.mend else '✓'} {f.what:{wide}}  {f.says}" for f in findings]
    mend = list(dict.fromkeys(finding.mend for finding in findings if finding.mend))
    if not mend:
        return "\n".join([*lines, "", "Nothing to mend."])
    return "\n".join([*lines, "", "To mend:", *(f"  {text}" for text in mend)])


def _carefully(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:
        yield Finding(what, f"{type(error).__name__}: {error}", f"{what}: see the error above; then {MEND}")


def _python() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    yield Finding(NAME, f"{__version__}, {Path(__file__).parents[1]}")


def _packages() -> Iterator[Finding]:
    """Each package that the course needs: its version, held beside what is asked for."""
    from packaging.requirements import Requirement

    try:
        asked = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "glora_lab runs from a folder and is not installed", MEND)
        return
    for requirement in _of_the_lab(map(Requirement, asked)):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, f"missing; {requirement.specifier} is needed", MEND)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        says = version if fits else f"{version}; {requirement.specifier} is needed"
        yield Finding(requirement.name, says, "" if fits else MEND)


def _of_the_lab(asked: Iterable[Requirement]) -> list[Requirement]:
    """Each requirement of the package and its extra `lab` once; a wheel lists them again for each extra."""
    wanted: dict[str, Requirement] = {}
    for requirement in asked:
        marker = requirement.marker
        here = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", "lab", "notebooks", "search"))
        if here and requirement.name != NAME:
            wanted.setdefault(requirement.name, requirement)
    return list(wanted.values())


def _notebooks() -> Iterator[Finding]:
    from .course import course_folder

    folder = course_folder()
    yield Finding("notebooks", f"{len(list(folder.glob('*.ipynb')))} in {folder}")


def _renderer() -> Iterator[Finding]:
    """How a figure reaches the page, and whether JupyterLab here can draw it."""
    if {"COLAB_RELEASE_TAG", "COLAB_NOTEBOOK_ID"} & os.environ.keys():
        yield Finding("renderer", "HTML that brings plotly along (Colab)")
        return
    from jupyter_core.paths import jupyter_path

    folders = [Path(path) for path in jupyter_path("labextensions")]
    missing = [name for name in EXTENSIONS if not any((folder / name / "package.json").is_file() for folder in folders)]
    yield Finding("renderer", "plotly's mime type, drawn by JupyterLab, VS Code and Voilà")
    for name in missing:
        again = f"pip install --force-reinstall --no-deps {EXTENSIONS[name]}"
        yield Finding("renderer", f"JupyterLab's extension {name} is missing: panels would be text", again)


def _threads() -> Iterator[Finding]:
    import torch

    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    yield Finding(
        "threads",
        f"torch uses {torch.get_num_threads()} of {os.cpu_count()} cores (OMP_NUM_THREADS {asked}); "
        "the notebooks ask for one, which is fastest for models this small",
    )


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("GPU", torch.cuda.get_device_name(0))
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "Apple's, through MPS")
    else:
        yield Finding("GPU", "none, and the course needs none")


def _kernel() -> Iterator[Finding]:
    from .kernel import try_kernel

    kernel = try_kernel()
    yield Finding("kernel", f"ipykernel {kernel.version}, up in {kernel.seconds:.1f} s")
    if not _same_python(kernel.executable):
        again = f"{sys.executable} -m ipykernel install --sys-prefix"
        yield Finding("kernel", f"it is another Python, {kernel.executable}: it has other packages", again)
    late = "once the cell that runs is done; training runs beside the cells, so Stop works when none does"
    yield Finding("kernel", f"a button is answered {'while a cell runs' if kernel.answers else late}")


def _same_python(executable: str) -> bool:
    return Path(executable).parent.resolve() == Path(sys.executable).parent.resolve()
