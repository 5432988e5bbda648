"""Which pictures, one task at a time: what every front door uses."""
