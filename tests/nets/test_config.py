"""One description of a network: what recipes take and what headers hold are its fields, with its defaults."""

import dataclasses

from undim.nets import create_model
from undim.nets.adr import Adr
from undim.nets.config import AdrConfig, ConvsConfig, NetworkSpec
from undim.training.recipe import AdrSection, ConvsSection, ModelSection
from undim.weights.files import ModelSpec


def defaults(section):
    return {name: field.default for name, field in section.model_fields.items()}


def test_recipes_take_the_description_s_fields_with_its_defaults():
    start = {"identity": False, "balanced": False}
    assert defaults(AdrSection) == {**dataclasses.asdict(AdrConfig()), **start}
    assert defaults(ConvsSection) == dataclasses.asdict(ConvsConfig())


def test_a_recipe_s_network_is_the_one_that_its_file_describes():
    section = ModelSection(
        name="candela_tiny",
        settings={"memory": 3},
        adr=AdrSection(embedding=8, bottleneck=3, basis="free"),
        convs=ConvsSection(where=r"^encoder1"),
    )
    network = section.network()
    spec = ModelSpec(network.architecture, network.overrides, network.adr, {"data": "none"}, convs=network.convs)
    assert network == NetworkSpec(
        "candela_tiny",
        {"memory": 3},
        AdrConfig(embedding=8, bottleneck=3, basis="free"),
        convs=ConvsConfig(where=r"^encoder1"),
    )
    shapes = [{name: value.shape for name, value in made.build().state_dict().items()} for made in (network, spec)]
    assert shapes[0] == shapes[1]


def test_the_description_builds_what_it_says():
    model = NetworkSpec("candela_tiny", {"dims": (8, 12, 16)}, AdrConfig("static", "all", 3)).build(identity=True)
    adrs = [module for module in model.modules() if isinstance(module, Adr)]
    assert {adr.bottleneck for adr in adrs} == {3}
    assert len(adrs) == len(create_model("candela_tiny").attention_sites())
    assert all(not adr.p2.weight.any() for adr in adrs)
