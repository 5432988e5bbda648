"""References without burnt-out parts, fused from both exposures of a pair."""

from __future__ import annotations

import cv2
import numpy as np

from undim.arrays import Bytes

BURNT = (215.0, 255.0)
"""Largest channel at which the fusion begins to replace the reference, and at which it has replaced it."""
SPREAD = 4.0
"""Sigma, in pixels, by which the border of the replaced parts is softened."""


def fuse_highlights(low: Bytes, high: Bytes) -> Bytes:
    """Replace what is burnt out in the brighter exposure.

    There the result is the exposure fusion of the two (Mertens, Kautz, Van Reeth 2007, in OpenCV); elsewhere it is
    `high`. So a network that learns from it learns neither to burn out windows and lamps nor to be timid elsewhere.

    Args:
        low: H x W x 3 8-bit RGB, the darker exposure.
        high: H x W x 3 8-bit RGB, the brighter one.

    Returns:
        H x W x 3 8-bit RGB.
    """
    start, end = BURNT
    brightest = high.max(axis=2).astype(np.float32)
    burnt = ((brightest - start) / (end - start)).clip(0, 1)
    if not burnt.any():
        return high
    fused = cv2.createMergeMertens().process([low, high]).clip(0, 1) * 255  # in [0, 1], whatever the channel order
    share = np.maximum(cv2.GaussianBlur(burnt, (0, 0), SPREAD), burnt)[..., None]
    result: Bytes = np.rint(high * (1 - share) + fused * share).astype(np.uint8)
    return result
