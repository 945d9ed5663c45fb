"""One wild input channel, and how far it reaches into the gradient of the others."""
