"""An adapter's folder: whether it fits a model, loading, swapping, and PEFT's own doors to the disk."""
