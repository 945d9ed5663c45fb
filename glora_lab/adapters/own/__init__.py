"""A method of one's own: a class says what is added to a weight, and is a PEFT tuner like the others."""
