"""What figures share: colours, equations, places for labels, and still pictures."""

from glora_lab.extras import needed

needed("a figure", "plotly")
