"""What all methods share: configuration, layer and model, merging, stacks, mixed batches, weighted sums, targets."""
