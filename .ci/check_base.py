"""Prove an install: no torch unless an extra brought it, and the example pictures were enhanced.

python .ci/check_base.py [EXTRA]
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image

extra = sys.argv[1:]
brought = [name for name in ("torch", "scipy", "skimage", "safetensors", "onnx") if importlib.util.find_spec(name)]
if brought and not extra:
    sys.exit(f"the base install brought {', '.join(brought)}")
examples = sorted(path for path in Path("examples").iterdir() if path.suffix in {".jpg", ".png", ".webp"})
for path in examples:
    with Image.open(path) as dark, Image.open(Path("bright") / path.name) as bright:
        before, after = (np.asarray(picture.convert("L")).mean() for picture in (dark, bright))
    sys.stdout.write(f"{path.name}: mean luma {before:.0f} -> {after:.0f}\n")
    if not after > (3 if before < 40 else 1.05) * before:
        sys.exit(f"{path.name} did not become brighter")
if not examples:
    sys.exit("there are no example pictures")
