"""Quality measures and the named evaluation protocols."""
