"""Merging an adapter and taking it out again: what is left of the base."""
