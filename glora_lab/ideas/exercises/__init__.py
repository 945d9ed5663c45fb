"""What a check says to an answer."""
