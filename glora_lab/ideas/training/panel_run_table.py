"""The runs so far as one table, the best of them marked, and what a reader does with them: compare, rename, delete.

Decision: one piece of HTML and one list to choose from, whatever the number of runs. A widget for each would be slow
from a hundred on.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from glora_lab.data import Task
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import Button, SelectMultiple, Text, row, show_only_if
from glora_lab.training.evaluate import counted
from glora_lab.training.run_folder import LONGEST_NAME, RunFolder

from .panel_begun import Begun, Steps
from .record import Run
from .record_ranking import Ranking

CELL = "padding:3px 14px 3px 0"
EARLIER_RUNS = 4  # whose curves stay in the figure
DRAWN = 12  # chosen runs whose curves are drawn
COMPARE = "Runs whose curves are drawn together: choose several with Ctrl or Shift."
BUTTONS = {
    "Rename": ("pencil", "Gives the one chosen run the name that is typed."),
    "Delete": ("trash", "Takes the chosen runs out of the table; Undo delete brings them back."),
    "Undo delete": ("undo", "Brings back what was deleted last."),
    "Export as CSV": ("table", "Writes the table into a file that a spreadsheet opens."),
}
HEAD = ("run", "task", "parameters", "validation", "test", "steps", "seed", "seconds")
WIDE_ONLY = {"task", "steps", "seed", "seconds"}  # where the panel is narrow they are in the CSV file alone
FEW = 8  # runs; a longer table scrolls in its place


class RunTable(widgets.VBox):
    """The runs of a folder that are of one model: `rows`, the newest first; `runs` those of this panel, oldest first.

    Args:
        folder: where they are kept.
        model: what they adapt, by name.
        code: Python that makes that model.
        answer: does what a button asks for, and says what it refuses.
        compare: shows the curves of the chosen runs.
    """

    def __init__(
        self,
        folder: RunFolder,
        model: str,
        code: str,
        answer: Callable[[Callable[[], None]], None],
        compare: Callable[[Mapping[str, Steps]], None],
    ) -> None:
        self._folder, self._model, self._code, self._compare = folder, model, code, compare
        self._own: list[str] = []  # ids
        self._gone: list[Run] = []  # what Undo brings back
        self._filling = False
        self._table, self._says = widgets.HTML(), widgets.HTML()
        self.choice = SelectMultiple(description="compare", says=COMPARE, rows=5, layout={"width": "420px"})
        self.name = Text(
            description="name", says="The name that Rename gives the chosen run.", layout={"width": "300px"}
        )
        self.buttons = {
            word: Button(description=word, icon=icon, says=says, layout={"width": "auto"})
            for word, (icon, says) in BUTTONS.items()
        }
        acts = (self.rename, self.delete, self.undo, self.export)
        for button, act in zip(self.buttons.values(), acts, strict=True):
            button.on_click(lambda _, act=act: answer(act))
        self.choice.observe(lambda _: None if self._filling else answer(self._chosen), "value")
        self._tools = row(self.choice, widgets.VBox([self.name, row(*self.buttons.values())]))
        super().__init__([self._table, self._tools, self._says])

    @property
    def value(self) -> str:
        """The table as HTML."""
        return str(self._table.value)

    @property
    def rows(self) -> list[Run]:
        return [run for run in reversed(self._folder.runs) if run.model == self._model]

    @property
    def runs(self) -> list[Run]:
        own = {run.id: run for run in self.rows if run.id in self._own}
        return [replace(own[name], steps=self._folder.steps(own[name])) for name in self._own if name in own]

    @property
    def chosen(self) -> list[Run]:
        return [run for run in self.rows if run.id in self.choice.value]

    def begin(self, task: Task) -> None:
        """From now on the runs of this task are ranked, among themselves."""
        self._task = task
        self.refresh()

    def record(self, begun: Begun) -> str:
        """What was begun and is over joins the table; in words what could not be kept in the folder."""
        refusals = []
        for name in begun.learnt:
            run = begun.run(name, self._model)
            self._own.append(run.id)
            try:
                self._folder.add(run, begun.models[name])
            except OSError as why:
                refusals.append(f"{name} is in the table until the kernel ends, and could not be kept: {why}")
        self.refresh()
        return "; ".join(refusals)

    def earlier(self) -> dict[str, Steps]:
        """Name → steps of this panel's latest runs of this task."""
        here = [run for run in self.runs if run.task == self._task.name]
        return {run.name: run.steps for run in here[-EARLIER_RUNS:]}

    def new_name(self, name: str) -> str:
        return new_name(name, self.rows)

    def rename(self) -> None:
        """Give the chosen run the name that is typed."""
        if len(self.chosen) != 1:
            raise ValueError("choose one run in the list to rename")
        self._folder.rename(self.chosen[0], self.name.value)
        self._tell(f"It is {self.name.value.strip()} now.")

    def delete(self) -> None:
        """Take the chosen runs from the table; `undo` brings them back."""
        if not self.chosen:
            raise ValueError("choose the runs to delete in the list")
        self._gone = self.chosen
        self._folder.delete(self._gone)
        self._tell(f"{_count(self._gone)} deleted: Undo delete brings {'it' if len(self._gone) == 1 else 'them'} back.")

    def undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._gone:
            raise ValueError("nothing was deleted here that could be brought back")
        self._folder.restore(self._gone)
        gone, self._gone = self._gone, []
        self._tell(f"{_count(gone)} brought back.")

    def export(self) -> None:
        """Write the table as a CSV file."""
        self._tell(f"Written: {self._folder.export(self.rows)}")

    def refresh(self) -> None:
        """Show the runs that there are by now."""
        rows = self.rows
        here = {run.name: run.validation for run in rows if run.task == self._task.name and run.validation is not None}
        ranking = Ranking(here, counted(self._task.validation))
        damaged = self._folder.damaged
        lost = f" {damaged} damaged {'line' if damaged == 1 else 'lines'} of the folder left out." if damaged else ""
        self._table.value = run_table(rows, self._task.name, ranking, lost)
        options = [(run.name, run.id) for run in rows]
        show_only_if(bool(rows or self._gone), self._tools)
        self.buttons["Undo delete"].disabled = not self._gone
        if options != list(self.choice.options):
            stay = [run.id for run in rows if run.id in self.choice.value]
            self._filling = True
            self.choice.options, self.choice.value = options, stay
            self._filling = False

    def _chosen(self) -> None:
        chosen = self.chosen
        lines: dict[str, Steps] = {}
        for run in chosen[:DRAWN]:
            lines[run.name if run.name not in lines else f"{run.name}, {run.id}"] = self._folder.steps(run)
        self._compare(lines)
        if len(chosen) > DRAWN:
            self._says.value = f"The curves of the newest {DRAWN} of the {len(chosen)} chosen runs are drawn."
        elif len(chosen) == 1:
            self.name.value = chosen[0].name[:LONGEST_NAME]
            self._says.value = self._details(chosen[0])
        else:
            self._says.value = ""

    def _details(self, run: Run) -> str:
        """What it was made with, and the line that loads its adapter."""
        config = run.settings.get("config", {})
        numbers = {name: value for name, value in run.settings.items() if name != "config"}
        made = ", ".join(f"{name} {value}" for name, value in {**numbers, "method": config.get("peft_type")}.items())
        folder = self._folder.path and self._folder.path / run.id
        code = f"load_adapter({self._code}, {str(folder)!r})" if folder and folder.is_dir() else ""
        return f"{html.escape(run.name)}: {html.escape(made)}. <code>{html.escape(code)}</code>"

    def _tell(self, words: str) -> None:
        self.refresh()
        self._chosen()
        self._says.value = html.escape(words)


def new_name(name: str, runs: Sequence[Run]) -> str:
    """The name, numbered where an earlier run has it: curves and table tell runs apart by name."""
    taken = {run.name.partition(", stopped")[0] for run in runs}
    numbered = (f"{name} ({n})" for n in range(2, len(taken) + 3))
    return name if name not in taken else next(new for new in numbered if new not in taken)


def run_table(runs: Sequence[Run], task: str, ranking: Ranking, lost: str = "") -> str:
    """An HTML table, and in words who is ahead on this task. Empty without runs."""
    if not runs:
        return html.escape(lost)
    leaders = set(ranking.leaders) if len(ranking.scores) > 1 else set()
    head = "".join(f'<th scope="col" style="{CELL};text-align:left"{_class(word)}>{word}</th>' for word in HEAD)
    body = "".join(_row(run, run.task == task and run.name in leaders) for run in runs)
    words = html.escape(f"{ranking.words} The test part ranks nobody.{lost}" if ranking.words else lost.strip())
    table = f'<table style="border-collapse:collapse;line-height:1.4"><tr>{head}</tr>{body}</table>'
    if len(runs) > FEW:
        table = f'<div tabindex="0" role="region" aria-label="runs" class="glora-long">{table}</div>'
    return f"<p>{words}</p>{table}"


def _row(run: Run, leads: bool) -> str:
    validation = "" if run.validation is None else f"{run.validation:.1%}"
    cells = (
        html.escape(run.name),
        html.escape(run.task),
        f"{run.params:,}",
        f"<b>★ {validation}</b>" if leads else validation,
        f"{run.metric:.1%}",
        f"{run.taken:,}",
        html.escape(str(run.settings.get("seed", ""))),
        f"{run.seconds:.1f}",
    )
    marked = zip(HEAD, cells, strict=True)
    return "<tr>" + "".join(f'<td style="{CELL}"{_class(word)}>{cell}</td>' for word, cell in marked) + "</tr>"


def _class(word: str) -> str:
    return ' class="glora-wide"' if word in WIDE_ONLY else ""


def _count(runs: Sequence[Run]) -> str:
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"
