import pytest
import torch
from torch import nn

from undim.errors import ModelError
from undim.nets.retinexformer import Attention, Retinexformer


class DropValues(nn.Module):
    """Sets the last third, V, to zero."""

    def forward(self, qkv):
        query, key, value = qkv.chunk(3, dim=1)
        return torch.cat([query, key, 0 * value], dim=1)


def test_adr_acts_before_the_illumination_guides_the_values():
    torch.manual_seed(0)
    attention = Attention(8, heads=2)
    features = torch.rand(1, 8, 6, 6)
    bright, dark = torch.rand(2, 1, 8, 6, 6)
    with torch.no_grad():
        assert not torch.allclose(attention(features, bright), attention(features, dark))
        attention.adr = DropValues()
        # Neither guided values nor their position term are left, only the bias of the projection.
        expected = attention.proj.bias[:, None, None].expand(1, 8, 6, 6)
        torch.testing.assert_close(attention(features, bright), expected)


def test_rows_of_attention_belong_to_keys():
    torch.manual_seed(1)
    attention = Attention(4, heads=1)
    features, illumination = torch.rand(2, 1, 4, 5, 5)
    tokens = features.flatten(2)[0].t()  # 25 x 4
    query, key, value = (layer(tokens) for layer in (attention.to_q, attention.to_k, attention.to_v))
    scores = (key / key.norm(dim=0)).t() @ (query / query.norm(dim=0))
    mixed = scores.softmax(dim=-1) @ (value * illumination.flatten(2)[0].t()).t()
    position = attention.pos_emb(value.t().reshape(1, 4, 5, 5))
    expected = attention.proj(mixed.t()).t().reshape(1, 4, 5, 5) + position
    torch.testing.assert_close(attention(features, illumination), expected)


def test_each_of_several_stages_has_its_attention_layers_in_declared_stages():
    sites = Retinexformer(n_feat=8, stage=2).attention_sites()
    assert len(sites) == 16
    assert [site.stage.name for site in sites[:8]] == [site.stage.name for site in sites[8:]]


def test_linear_layers_start_as_published():
    torch.manual_seed(0)
    projection = Retinexformer(n_feat=40).body[0].denoiser.bottleneck.blocks[0][0].proj
    assert projection.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not projection.bias.any()


def test_another_number_of_levels_is_refused():
    with pytest.raises(ModelError, match=r"three levels\. Got num_blocks=\(1, 2\)"):
        Retinexformer(num_blocks=(1, 2))
