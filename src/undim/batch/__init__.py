"""More pictures than one command should hold in its hands: from store to store, by worker processes or a Ray cluster."""
