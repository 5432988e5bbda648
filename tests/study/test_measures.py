"""Parts of pictures, and a part of the pictures, are measured where a study says so."""

import numpy as np
import torch
from PIL import Image

from undim.nets import create_model
from undim.redundancy import dmr
from undim.study.measures import measure_network
from undim.study.plan import Measuring
from undim.training.recipe import load_recipe
from undim.training.samples import find_split


def test_the_middles_of_some_pictures(study_file, pictures):
    recipe = load_recipe(study_file.with_name("tiny.yaml"))
    torch.manual_seed(0)
    model = create_model(recipe.model.name, **recipe.model.settings)
    found = measure_network(model, recipe, Measuring(pictures=2, draws=1, crop=12, scored=1))
    assert [len(found.scores[split].pictures) for split in ("val", "test")] == [1, 1]
    names = [pair.name for pair in find_split(recipe.data, "val")]
    assert (found.redundancy.pictures, found.redundancy.crop) == (2, 12)
    dark = [np.asarray(Image.open(pictures / "our485" / "low" / f"{name}.png")) for name in (names[0], names[-1])]
    middles = [torch.from_numpy(each[6:18, 10:22] / np.float32(255)).permute(2, 0, 1)[None] for each in dark]
    assert found.redundancy.dmr == dmr(model, middles, seeds=(0,), adr="both").mean
