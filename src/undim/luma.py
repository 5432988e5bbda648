"""What luma is here, for arrays and tensors alike."""

REC601 = (0.299, 0.587, 0.114)
"""Weights of encoded R, G and B in luma (ITU-R BT.601)."""
