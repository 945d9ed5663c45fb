"""One folder a lesson: its record, its measure, its figure and its panel."""
