"""Two kernels may run at once from this profile: they share no history file."""

c.HistoryManager.enabled = False  # type: ignore[name-defined]  # noqa: F821
