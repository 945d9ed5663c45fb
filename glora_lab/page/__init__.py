"""What panels share: the panel itself, places for figures, and controls."""

from glora_lab.extras import needed

needed("a panel", "ipywidgets", "plotly", "anywidget")
