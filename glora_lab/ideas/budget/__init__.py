"""What an adapter costs in parameters, and methods at an equal budget."""
