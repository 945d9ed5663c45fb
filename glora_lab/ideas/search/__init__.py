"""Where the parameters should go: the trials of a search, their front, and what they are worth."""
