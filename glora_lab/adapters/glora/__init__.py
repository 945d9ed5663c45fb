"""GLoRA: five paths over a frozen layer. Begin with paths.py and formula.py."""
