"""Whose values a panel shows of a layer: a random example, a fresh adapter, or the adapter that the model carries."""

from __future__ import annotations

from glora_lab.page.panel import Panel, guarded_about

from .modes import choice
from .widgets import Again, ToggleButtons, again

RANDOM, FRESH, TRAINED = "random example", "fresh adapter", "this model's adapter"
WHOSE = "Whose values the picture shows."
SAYS = {
    RANDOM: "The values are random examples of a visible size, not trained ones.",
    FRESH: "A fresh adapter is a no-op: every term starts at zero and training moves it.",
    TRAINED: "The values are those of the adapter that the model carries.",
}


class ExampleValuesPanel(Panel):
    """The choice of values and a button for others. A subclass shows what is chosen in `_update`."""

    values: ToggleButtons
    again: Again  # its value is the seed of a random example

    def _offer_values(self, *, trained: bool) -> None:
        """Make the two controls; the model's own adapter can be chosen where it carries one, and is then."""
        self.values = choice("values", ([TRAINED] if trained else []) + [RANDOM, FRESH], WHOSE, SAYS)
        self.again = again()
        self.again.observe(self._draw_again, "value")

    def _update(self) -> None:
        raise NotImplementedError

    def _show_example(self) -> None:
        """After another setting: what the model's adapter is not is shown as an example."""
        if self.values.value == TRAINED:
            self.values.value = RANDOM  # which updates
        else:
            self._update()

    @guarded_about("settings")
    def _draw_again(self, _: object) -> None:
        if self.values.value == RANDOM:
            self._update()
        else:
            self.values.value = RANDOM
