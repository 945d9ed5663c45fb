"""GraLoRA's blocks: their norms, their factors, and the rank of the whole."""
