"""The torch runtime on a GPU agrees with the CPU's, in both precisions, recorded and not."""

import numpy as np
import pytest
import torch

from undim.metrics.quality import psnr
from undim.runtimes.by_torch import TorchRuntime, computes_bfloat16
from undim.shipped import MODELS_FOLDER

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def to_bytes(picture):
    return np.rint(picture[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["tiny", "photo", "lol"])
@pytest.mark.parametrize(("precision", "near"), [("float32", 60.0), ("bfloat16", 35.0)])
def test_a_gpu_gives_the_picture_of_the_cpu(name, precision, near):
    if precision == "bfloat16" and not computes_bfloat16():
        pytest.skip("the GPU does not multiply bfloat16")
    path = MODELS_FOLDER / f"{name}.safetensors"
    here, there = TorchRuntime(path, device="cpu"), TorchRuntime(path, device="cuda", precision=precision)
    rng = np.random.default_rng(0)
    for turn in range(4):
        picture = rng.random((1, 3, 96, 128), np.float32) * np.float32(0.1 * (turn + 1))
        assert psnr(to_bytes(there.run(picture)), to_bytes(here.run(picture))) > near
    assert there._run.records
    assert len(there._run._recordings) == 1
