"""What a step of training costs: time and memory, method beside method."""
