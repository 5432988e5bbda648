"""RetinexNet: a picture is split into reflectance and illumination, and the illumination adjusted.

Paper: Wei et al., "Deep Retinex Decomposition for Low-Light Enhancement", BMVC 2018.
Licence: written from the paper. The parameter names equal those of the published TensorFlow checkpoints (MIT), "/"
written as ".", and in `RetinexNetPort` those of a public PyTorch port, which computes something else (its code states
no licence and was not read).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.nets.convolutional import Convolutional
from undim.nets.padding import pad_same
from undim.nets.registry import Variant, register


def with_brightest(image: Tensor) -> Tensor:
    """N x 3 x H x W with the maximum over its channels in front: N x 4 x H x W."""
    return torch.cat([image.amax(dim=1, keepdim=True), image], dim=1)


def split_retinex(features: Tensor) -> tuple[Tensor, Tensor]:
    """N x 4 x H x W to reflectance N x 3 x H x W and illumination N x 1 x H x W, both in [0, 1]."""
    return torch.sigmoid(features[:, :3]), torch.sigmoid(features[:, 3:])


def enlarge(features: Tensor, like: Tensor) -> Tensor:
    """Nearest neighbours of N x C x h x w in the height and width of another tensor."""
    return F.interpolate(features, size=like.shape[-2:], mode="nearest")


class DecomNet(nn.Module):
    """Splits a picture into reflectance and illumination (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shallow_feature_extraction = nn.Conv2d(4, channels, 9, padding=4)
        self.activated_layer_0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activated_layer_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activated_layer_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activated_layer_3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activated_layer_4 = nn.Conv2d(channels, channels, 3, padding=1)
        self.recon_layer = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W to reflectance N x 3 x H x W and illumination N x 1 x H x W, both in [0, 1]."""
        features = self.shallow_feature_extraction(with_brightest(image))
        features = F.relu(self.activated_layer_0(features))
        features = F.relu(self.activated_layer_1(features))
        features = F.relu(self.activated_layer_2(features))
        features = F.relu(self.activated_layer_3(features))
        features = F.relu(self.activated_layer_4(features))
        return split_retinex(self.recon_layer(features))


class RelightNet(nn.Module):
    """Adjusts the illumination on four scales (section 3.2). `conv2d` to `conv2d_8` are the checkpoints' names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(4, channels, 3, padding=1)
        # Their border depends on the picture's size: see `pad_same`.
        self.conv2d_1 = nn.Conv2d(channels, channels, 3, stride=2)
        self.conv2d_2 = nn.Conv2d(channels, channels, 3, stride=2)
        self.conv2d_3 = nn.Conv2d(channels, channels, 3, stride=2)
        self.conv2d_4 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2d_5 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2d_6 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2d_7 = nn.Conv2d(3 * channels, channels, 1)
        self.conv2d_8 = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """N x 3 x H x W and N x 1 x H x W to the adjusted illumination N x 1 x H x W, not bounded."""
        full = self.conv2d(torch.cat([reflectance, illumination], dim=1))
        half = F.relu(self.conv2d_1(pad_same(full)))
        quarter = F.relu(self.conv2d_2(pad_same(half)))
        eighth = F.relu(self.conv2d_3(pad_same(quarter)))
        up4 = F.relu(self.conv2d_4(enlarge(eighth, quarter))) + quarter
        up2 = F.relu(self.conv2d_5(enlarge(up4, half))) + half
        up1 = F.relu(self.conv2d_6(enlarge(up2, full))) + full
        gathered = torch.cat([enlarge(up4, full), enlarge(up2, full), up1], dim=1)
        relit: Tensor = self.conv2d_8(self.conv2d_7(gathered))
        return relit


class RetinexNet(Convolutional):
    """RetinexNet as published (figure 2 of the paper). The denoising of the reflectance is not in the authors' code.

    Args:
        channels: of every hidden layer.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.DecomNet = DecomNet(channels)
        self.RelightNet = RelightNet(channels)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        reflectance, illumination = self.DecomNet(image)
        relit: Tensor = reflectance * self.RelightNet(reflectance, illumination)
        return relit


class PortedDecomNet(nn.Module):
    """`DecomNet` with borders that repeat the edge."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net1_conv0 = nn.Conv2d(4, channels, 9, padding=4, padding_mode="replicate")
        layers: list[nn.Module] = []
        for _ in range(5):
            layers += [nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate"), nn.ReLU()]
        self.net1_convs = nn.Sequential(*layers)
        self.net1_recon = nn.Conv2d(channels, 4, 3, padding=1, padding_mode="replicate")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W to reflectance N x 3 x H x W and illumination N x 1 x H x W, both in [0, 1]."""
        return split_retinex(self.net1_recon(self.net1_convs(self.net1_conv0(with_brightest(image)))))


class PortedRelightNet(nn.Module):
    """`RelightNet` with borders that repeat the edge and skips that are concatenated, not added."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, padding_mode="replicate")

        self.net2_conv0_1 = conv(4, channels)
        self.net2_conv1_1 = conv(channels, channels, stride=2)
        self.net2_conv1_2 = conv(channels, channels, stride=2)
        self.net2_conv1_3 = conv(channels, channels, stride=2)
        self.net2_deconv1_1 = conv(2 * channels, channels)
        self.net2_deconv1_2 = conv(2 * channels, channels)
        self.net2_deconv1_3 = conv(2 * channels, channels)
        # The border that the 1x1 adds is what the 3x3 after it takes away.
        self.net2_fusion = nn.Conv2d(3 * channels, channels, 1, padding=1, padding_mode="replicate")
        self.net2_output = nn.Conv2d(channels, 1, 3)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """N x 3 x H x W and N x 1 x H x W to the adjusted illumination N x 1 x H x W, not bounded."""
        full = self.net2_conv0_1(torch.cat([reflectance, illumination], dim=1))
        half = F.relu(self.net2_conv1_1(full))
        quarter = F.relu(self.net2_conv1_2(half))
        eighth = F.relu(self.net2_conv1_3(quarter))
        up4 = F.relu(self.net2_deconv1_1(torch.cat([enlarge(eighth, quarter), quarter], dim=1)))
        up2 = F.relu(self.net2_deconv1_2(torch.cat([enlarge(up4, half), half], dim=1)))
        up1 = F.relu(self.net2_deconv1_3(torch.cat([enlarge(up2, full), full], dim=1)))
        gathered = torch.cat([enlarge(up4, full), enlarge(up2, full), up1], dim=1)
        relit: Tensor = self.net2_output(self.net2_fusion(gathered))
        return relit


class RetinexNetPort(Convolutional):
    """The network of a public PyTorch port, for its trained weights only.

    Args:
        channels: of every hidden layer.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.DecomNet = PortedDecomNet(channels)
        self.RelightNet = PortedRelightNet(channels)

    def restore(self, image: Tensor) -> Tensor:
        """Map N x 3 x H x W to the same shape."""
        reflectance, illumination = self.DecomNet(image)
        relit: Tensor = reflectance * self.RelightNet(reflectance, illumination)
        return relit


register(
    {
        "retinexnet": Variant(RetinexNet, summary="RetinexNet as published"),
        "retinexnet_port": Variant(RetinexNetPort, summary="another network under RetinexNet's name, for its weights"),
    }
)
