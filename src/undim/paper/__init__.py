"""The paper's tables and figures with our figures beside them, and what would make those that are missing."""
