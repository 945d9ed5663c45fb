"""GLoRA's layer as one function of autograd."""
