"""What arrays are called: by the type of their values, and by what these stand for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
"""Values from 0 to 255: pixels of 8 bits, or the bytes of a file."""
Pixels = npt.NDArray[np.uint8 | np.uint16]
"""Values from 0 to 255, or to 65535: the type tells which."""
Floats = npt.NDArray[np.float32]
"""Single precision: pictures for a network, 1 as white."""
Doubles = npt.NDArray[np.float64]
"""Double precision: what is measured."""
Span = tuple[int, int]
"""First pixel and the one after the last along one axis; also height and width."""
