"""Undim makes dark photographs clear: `from undim import Enhancer; Enhancer()(image)`."""

import os
from typing import TYPE_CHECKING

from undim.version import __version__

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer

# ONNX Runtime (1.29 and later) reports its use to Microsoft, and keeps an identifier in the home folder, unless this is
# set before it starts. Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Enhancer", "__version__"]


def __getattr__(name: str) -> object:
    # `import undim` alone stays fast: NumPy, Pillow and ONNX Runtime are imported when Enhancer is asked for.
    if name == "Enhancer":
        from undim.enhance.enhancer import Enhancer

        return Enhancer
    raise AttributeError(f"module 'undim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
