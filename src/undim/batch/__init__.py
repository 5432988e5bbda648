"""Very many pictures: from store to store, by worker processes or a Ray cluster."""
