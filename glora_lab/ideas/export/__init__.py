"""What became of an adapter that left for plain PEFT."""
