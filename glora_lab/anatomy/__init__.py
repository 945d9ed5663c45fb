"""Any layer of any model, looked at: its terms, its core, a batch, and how large a matrix may be."""
