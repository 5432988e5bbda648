"""Names of the weights in a run's folder, for those who look for them without training."""

AVERAGE = "average.safetensors"
"""The averaged weights at the end: there only once a run is at its end."""
BEST = "best.safetensors"
"""The averaged weights of the best validation."""
MEASURED = (BEST, AVERAGE)
"""What is measured of a run's folder: the first that is there."""
