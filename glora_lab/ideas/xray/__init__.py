"""An adapter seen through, layer by layer, from a model or from a file."""
