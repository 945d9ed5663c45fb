"""Where a model has channels far larger than the others: in what its layers are given, and in their gradients."""
