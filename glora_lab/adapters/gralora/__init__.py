"""GraLoRA: a grid of low-rank blocks over a frozen layer. Begin with blocks.py and formula.py."""
