"""Training seen: curves, runs, races, and what the model answers."""
