"""A guess before the answer: asked, made or waived, and shown beside what is so."""
