"""`glora-lab`: the course beside you and JupyterLab on its first page, a look at what the machine has, and a search
with several processes.

Nothing heavy is imported before it is needed, so that `glora-lab --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from glora_lab import __version__
from glora_lab.extras import lacks
from glora_lab.folders import folder_named

from .course import FIRST, FOLDER, copy_course
from .search import add_search, search

EPILOG = "Something looks wrong? `glora-lab doctor` says what is there and what to mend."
OPEN = f"""\
Copies the notebooks of the course into DIRECTORY/{FOLDER} and starts JupyterLab on the first one. A notebook that you
have changed, or a file of the same name that was there before, is never written over: it is named and left as it is.
What is given after -- goes to JupyterLab: glora-lab open -- --no-browser --port 8899"""
DOCTOR = """\
Prints versions, how figures are drawn, threads, GPU and how a kernel behaves, and what to mend. The exit code is 0
where nothing is to mend and 1 otherwise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = given.index("--") if "--" in given else len(given)
    asked = _parser().parse_args(given[:at])
    if asked.command == "doctor":
        from .doctor import examine, report

        findings = examine()
        print(report(findings))
        return int(any(finding.mend for finding in findings))
    if asked.command == "search":
        return search(asked)
    if asked.command == "docs":
        return _docs()
    return _open(asked.directory, asked.copy_only, given[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    wide = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="glora-lab", description="A Jupyter laboratory for GLoRA and GraLoRA.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"glora-lab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lab = commands.add_parser(
        "open", help="copy the notebooks here and start JupyterLab", description=OPEN, formatter_class=wide
    )
    lab.add_argument("directory", nargs="?", default=".", metavar="DIRECTORY", help="where to copy to (default: here)")
    lab.add_argument("--copy-only", action="store_true", help="copy the notebooks and start nothing")
    commands.add_parser(
        "doctor", help="what is installed, how it behaves, what to mend", description=DOCTOR, formatter_class=wide
    )
    commands.add_parser("docs", help="open the course and the reference as pages, which `make site` makes")
    add_search(commands, wide)
    return parser


def _docs() -> int:
    from .docs import open_docs

    try:
        print(open_docs())
    except FileNotFoundError as missing:
        return _refuse(str(missing), 1)
    return 0


def _open(asked: str, copy_only: bool, passed_on: Sequence[str]) -> int:
    try:
        directory = Path(folder_named("DIRECTORY", asked))
        for folder in (directory, directory / FOLDER):
            if folder.exists() and not folder.is_dir():
                raise ValueError(f"`DIRECTORY` (={asked!r}) must be a folder; {folder} is a file")
        copied = copy_course(directory / FOLDER)
    except ValueError as refusal:
        return _refuse(f"glora-lab open: {refusal}", 2)
    except OSError as error:
        why = f"cannot copy into {directory / FOLDER}: {error.strerror}" if error.strerror else str(error)
        return _refuse(f"glora-lab open: {why}", 1)
    print(copied.in_words(directory / FOLDER))
    if copy_only:
        return 0
    if not _has_jupyterlab():
        return _refuse(f"glora-lab open {lacks('jupyterlab', 'lab')}", 1)
    return subprocess.call([*jupyterlab_command(directory), *passed_on])


def _refuse(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def jupyterlab_command(directory: Path) -> list[str]:
    """The command that starts JupyterLab in the folder, on the first notebook."""
    page = f"--LabApp.default_url=/lab/tree/{FOLDER}/{FIRST}"
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [sys.executable, "-m", "jupyterlab", *root, f"--ServerApp.root_dir={directory.resolve()}", page]


def _has_jupyterlab() -> bool:
    from importlib.util import find_spec

    return find_spec("jupyterlab") is not None
