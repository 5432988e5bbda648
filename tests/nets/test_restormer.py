import pytest
import torch

from undim.errors import ModelError
from undim.nets.restormer import ChannelNorm, Restormer


def tiny(**settings):
    return Restormer(
        **{"dim": 4, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1, "heads": (1, 1, 2, 2)} | settings
    )


def test_what_is_learned_is_a_residual():
    model = tiny()
    torch.nn.init.zeros_(model.output.weight)
    image = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        assert torch.equal(model(image), image)


def test_bias_free_norm_divides_by_the_deviation_and_keeps_the_mean():
    pixel = torch.tensor([1.0, 3.0, 5.0, 7.0])
    norm = ChannelNorm(4, "BiasFree")
    expected = pixel / pixel.std(correction=0)
    torch.testing.assert_close(norm(pixel.view(1, 4, 1, 1)).flatten(), expected, atol=1e-5, rtol=1e-5)


def test_norm_with_bias_is_the_layer_norm_of_each_pixel():
    norm = ChannelNorm(6, "WithBias")
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    features = torch.randn(2, 6, 3, 5)
    pixel = features[1, :, 2, 4]
    expected = (pixel - pixel.mean()) / (pixel.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(features)[1, :, 2, 4], expected)


def test_norm_returns_to_its_constructors_values():
    norm = ChannelNorm(3, "WithBias")
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.reset_parameters()
    assert norm.weight.tolist() == [1, 1, 1]
    assert norm.bias.tolist() == [0, 0, 0]


def test_an_unknown_norm_is_refused():
    with pytest.raises(ModelError, match=r"'WithBias' or 'BiasFree'\. Got 'Batch'"):
        tiny(layer_norm="Batch")


def test_adr_acts_on_q_k_v_after_the_depthwise_convolution():
    attention = tiny().encoder_level1[0].attn
    seen = {}
    attention.qkv_dwconv.register_forward_hook(lambda _m, _i, output: seen.update(convolved=output))
    adr = torch.nn.Identity()
    adr.register_forward_hook(lambda _m, inputs, _o: seen.update(reallocated=inputs[0]))
    attention.adr = adr
    attention(torch.rand(1, 4, 8, 8))
    assert seen["reallocated"] is seen["convolved"]
