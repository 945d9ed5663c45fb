"""Which changes of a weight an adapter of a given size can make."""
