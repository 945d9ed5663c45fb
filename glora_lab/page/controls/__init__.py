"""Controls that several panels have."""
