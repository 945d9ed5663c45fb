"""Gradient descent on one batch: how the loss falls, and how large a step may be."""
