"""The frozen layer beneath an adapter: the map that it computes, where its tensors are, and how they are kept."""
