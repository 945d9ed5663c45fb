"""To stock PEFT and from it: what it has words for, export, snippets, and the same layer in its classes."""
