"""Training: typed recipes, losses and the loop."""
