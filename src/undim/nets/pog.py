"""Parameter Orthogonal Generation (POG): the weights of a convolution, generated for each image.

Paper: Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement", equations 4-7.

Each of the N weights owns an embedding e_i in R^De. Scaled to unit length, n_i = e_i/|e_i| spans a Householder
reflection B_i = I - 2 n_i n_i^T, whose columns are an orthonormal basis. The image gives mixing weights W on the
simplex; weight i is decoded from s_i = B_i W = W - 2 n_i (n_i . W). Neither B_i (De x De) nor s_i is ever formed: with
the decoder's first layer M1,

    M1 s_i = M1 W - 2 (n_i . W) (M1 n_i),

where the first term is one vector an image and M1 n_i does not depend on the image at all.

For controlled studies, the basis and the mixing weights can be others than the paper's (`Basis`, `Mixing`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets.dynamic_conv import GeneratedConv2d, check_pooled, keep_linear
from undim.nets.full_precision import linear, widen, without_autocast

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Basis = Literal["householder", "free", "additive"]
"""Of each weight: a product of Householder reflections (equation 4 is one); I - 2 e_i e_i^T with embeddings of free
length, which is not orthogonal; or none, s_i = W + e_i."""
Mixing = Literal["softmax", "sigmoid", "linear", "constant"]
"""What makes mixing weights of fc2's output z: softmax (equation 5), sigmoid, z / |z|_1; or softmax whatever the
picture is, from an input of ones: a static kernel with as many parameters."""


SHORTEST = 1e-6
"""Length of an embedding below which its gradient does not grow further; drawn ones are about De^1/2 long."""
_RANGE = {torch.float32: (2.0**50, 2.0**100), torch.float64: (2.0**500, 2.0**1000)}
"""By type, the largest entry of a row up to which, and down to whose inverse, sums of squares stay in range; and the
power of two that brings other rows there."""


def unit_embeddings(embeddings: Tensor) -> Tensor:
    """Scale each row to unit length.

    Every finite row is: where squares would leave the range of the type, all are computed from the row times a power of
    two, which rounds nothing. A row of zeros has no direction: it stays zero (its basis is then the identity) and
    receives no gradient. NaN stays NaN.

    The gradient grows as the inverse of a row's length. Rows shorter than `SHORTEST` get that of a row so long, times
    how much shorter they are, so that it ends in the zero that a row of zeros gets.

    Args:
        embeddings: N x De, at least float32.

    Returns:
        N x De, rows of length one or zero.
    """
    with torch.no_grad():
        largest = embeddings.abs().amax(-1, keepdim=True)
        reach, step = _RANGE[embeddings.dtype]
        one = torch.ones_like(largest)
        factor = torch.where(largest < 1 / reach, one * step, torch.where(largest > reach, one / step, one))
        shortness = torch.linalg.vector_norm(embeddings * factor, dim=-1, keepdim=True) / factor / SHORTEST
        # Squared, since the gradient of a direction grows as the inverse of the length.
        gradient = shortness.clamp(max=1).square() * factor
    kept = embeddings.detach()
    scaled = kept * factor + gradient * (embeddings - kept)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    directions: Tensor = scaled / torch.where(length == 0, 1, length)
    return directions


def generate_weights(
    mixing: Tensor,
    normals: Tensor,
    mapped_normals: Tensor,
    m1_weight: Tensor,
    m1_bias: Tensor,
    m2_weight: Tensor,
    m2_bias: Tensor,
) -> Tensor:
    """Decode N weights for each of B images (equations 4, 6 and 7) in O(B N De) time and memory.

    Args:
        mixing: W of equation 5, B x De.
        normals: unit embeddings n_i, N x De; of products of k reflections N x k x De, the last acting first.
        mapped_normals: M1 n_i without bias, N x De/2 or N x k x De/2.
        m1_weight: De/2 x De.
        m1_bias: De/2.
        m2_weight: 1 x De/2.
        m2_bias: 1.

    Returns:
        B x N.
    """
    common = F.linear(mixing, m1_weight, m1_bias)  # (B, De/2): M1 W + b1
    if normals.ndim == 2:
        along = mixing @ normals.t()  # (B, N): n_i . W
        turned = (2 * along).unsqueeze(2) * mapped_normals
    else:
        turned = 2 * (_along_each(mixing, normals).unsqueeze(3) * mapped_normals).sum(2)
    hidden = common.unsqueeze(1) - turned  # (B, N, De/2): m1(s_i)
    return F.linear(F.gelu(hidden, approximate="tanh"), m2_weight, m2_bias).squeeze(-1)


def _along_each(mixing: Tensor, normals: Tensor) -> Tensor:
    """a_j of H_1 ... H_k W = W - 2 sum_j a_j n_j, for B x De mixing weights and N x k x De unit normals: B x N x k."""
    count = normals.shape[1]
    own = torch.unflatten(mixing @ normals.flatten(0, 1).t(), 1, (-1, count))  # (B, N, k): n_j . W
    between = normals @ normals.transpose(1, 2)  # (N, k, k)
    found: dict[int, Tensor] = {}
    for place in reversed(range(count)):  # the last reflection acts first
        along = own[..., place]
        for later, past in found.items():
            along = along - 2 * between[:, place, later] * past
        found[place] = along
    return torch.stack([found[place] for place in range(count)], 2)


class _PogGenerator(nn.Module, ABC):
    """What the trainable and the frozen generator share: pooled input -> W, and the decoder."""

    def __init__(
        self, in_channels: int, shape: tuple[int, int, int, int], embedding: int, basis: Basis, mixing: Mixing
    ) -> None:
        super().__init__()
        if basis not in get_args(Basis):
            raise ModelError(f"The basis must be one of {', '.join(get_args(Basis))}. Got {basis!r}.")
        if mixing not in get_args(Mixing):
            raise ModelError(f"The mixing must be one of {', '.join(get_args(Mixing))}. Got {mixing!r}.")
        if embedding < 2 or embedding % 2:
            raise ShapeError(f"The embedding size De must be even and at least 2. Got {embedding}.")
        self.in_channels = in_channels
        self.shape = shape
        self.embedding = embedding
        self.basis_kind = basis
        self.mixing_kind = mixing
        self.fc1 = nn.Linear(in_channels, embedding)
        self.fc2 = nn.Linear(embedding, embedding)
        self.m1 = nn.Linear(embedding, embedding // 2)
        self.m2 = nn.Linear(embedding // 2, 1)

    @property
    def weights(self) -> int:
        """N, the number of generated weights."""
        out_channels, in_channels, height, width = self.shape
        return out_channels * in_channels * height * width

    def mixing(self, pooled: Tensor) -> Tensor:
        """W of equation 5: pooled inputs B x in_channels to B x De, of softmax non-negative rows summing to one.

        As `forward`, at least in float32.
        """
        check_pooled(pooled, self.in_channels)
        with without_autocast(pooled):
            return self._mix(widen(pooled))

    def _mix(self, pooled: Tensor) -> Tensor:
        if self.mixing_kind == "constant":
            pooled = torch.ones_like(pooled)
        hidden = F.gelu(linear(pooled, self.fc1.weight, self.fc1.bias), approximate="tanh")
        scores = linear(hidden, self.fc2.weight, self.fc2.bias)
        if self.mixing_kind == "sigmoid":
            return torch.sigmoid(scores)
        if self.mixing_kind == "linear":
            return scores / scores.abs().sum(-1, keepdim=True).clamp_min(1e-6)
        return F.softmax(scores, dim=-1)

    @abstractmethod
    def basis(self) -> tuple[Tensor, Tensor]:
        """Unit embeddings N x De and their images under M1, N x De/2; with k reflections N x k x De and N x k x De/2.

        Those of other bases are as long as they are.
        """

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled inputs B x in_channels to kernels B x Cout x Cin/groups x k x k, at least in float32.

        Autocasting does not act here: pictures' kernels differ by less than 16-bit floats can tell. NaN in one image's
        input makes that image's kernel NaN and leaves the others' alone.
        """
        mixing = self.mixing(pooled)
        with without_autocast(pooled):
            normals, mapped = (part.to(mixing.dtype) for part in self.basis())
            m1, b1, m2, b2 = (
                part.to(mixing.dtype) for part in (self.m1.weight, self.m1.bias, self.m2.weight, self.m2.bias)
            )
            if self.basis_kind == "additive":
                hidden = F.linear(mixing, m1, b1).unsqueeze(1) + mapped  # (B, N, De/2): m1(W + e_i)
                weights = F.linear(F.gelu(hidden, approximate="tanh"), m2, b2).squeeze(-1)
            else:
                weights = generate_weights(mixing, normals, mapped, m1, b1, m2, b2)
        return torch.unflatten(weights, 1, self.shape)


class PogKernel(_PogGenerator):
    """Generates a convolution's kernel for each image from its pooled input.

    Args:
        in_channels: channels of the pooled input.
        shape: shape of one kernel, (Cout, Cin/groups, k, k); its product is N.
        embedding: De, even.
        reflections: k, how many Householder reflections make a weight's basis; each has embeddings of its own.
        basis: see `Basis`; only "householder" takes more than one reflection.
        mixing: see `Mixing`.

    Raises:
        ShapeError: for an odd De or reflections that the basis does not take; from `forward` if the pooled input is
            not B x in_channels.
        ModelError: for an unknown basis or mixing.
    """

    def __init__(
        self,
        in_channels: int,
        shape: tuple[int, int, int, int],
        embedding: int = 64,
        *,
        reflections: int = 1,
        basis: Basis = "householder",
        mixing: Mixing = "softmax",
    ) -> None:
        super().__init__(in_channels, shape, embedding, basis, mixing)
        if reflections < 1 or (reflections > 1 and basis != "householder"):
            allowed = "one reflection or more" if basis == "householder" else "one reflection"
            raise ShapeError(f"The basis {basis!r} takes {allowed}. Got {reflections}.")
        rows = (self.weights,) if reflections == 1 else (self.weights, reflections)
        self.embeddings = nn.Parameter(torch.empty(*rows, embedding))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embeddings from a normal distribution, which spreads their directions evenly over the sphere.

        Those whose length counts have a mean square length of one.
        """
        nn.init.normal_(self.embeddings, std=1.0 if self.basis_kind == "householder" else self.embedding**-0.5)

    @torch.no_grad()
    def balance(self) -> None:
        """Draw the layers before m2 so that, at first, pictures tell as much in each unit as its bias does.

        As the layers are drawn by default, W is nearly uniform, so |s_i| = |W| is about De^-1/2 and m1 sees little but
        its bias: all pictures get nearly the same kernel. Here fc1 and fc2 keep the variance of pooled inputs of unit
        variance (He et al. 2015), and m1's weights are De^1/2 times as large.
        """
        nn.init.kaiming_normal_(self.fc1.weight)
        nn.init.normal_(self.fc2.weight, std=self.embedding**-0.5)
        self.m1.weight.mul_(self.embedding**0.5)

    def zero_output(self) -> None:
        """Make every kernel zero, with gradients that still move it."""
        nn.init.zeros_(self.m2.weight)
        nn.init.zeros_(self.m2.bias)

    @torch.no_grad()
    def keep(self, channels: Sequence[int], axis: Literal[0, 1]) -> None:
        """Drop all output (axis 0) or input channels (1) of the kernels but these, in place: with their embeddings."""
        kept = torch.tensor(channels, device=self.embeddings.device)
        rows = self.embeddings.unflatten(0, self.shape).index_select(axis, kept)
        self.embeddings = nn.Parameter(rows.flatten(0, 3))
        self.shape = tuple(rows.shape[:4])
        if axis == 1:
            self.in_channels = len(channels)
            self.fc1 = keep_linear(self.fc1, self.fc1.weight[:, kept])

    def basis(self) -> tuple[Tensor, Tensor]:
        """Unit embeddings N x De and their images under M1, N x De/2."""
        embeddings = widen(self.embeddings)
        normals = unit_embeddings(embeddings) if self.basis_kind == "householder" else embeddings
        with without_autocast(normals):
            return normals, linear(normals, self.m1.weight)


class FrozenPogKernel(_PogGenerator):
    """`PogKernel` for inference: n_i and M1 n_i are stored, so a weight costs one dot product and one scaled add.

    Args:
        kernel: the trained generator; it is copied and left as it is.
    """

    normals: Tensor
    mapped_normals: Tensor

    def __init__(self, kernel: PogKernel) -> None:
        with torch.random.fork_rng(devices=[]):  # the random layers that are replaced at once cost no random numbers
            super().__init__(kernel.in_channels, kernel.shape, kernel.embedding, kernel.basis_kind, kernel.mixing_kind)
        for name in ("fc1", "fc2", "m1", "m2"):
            setattr(self, name, copy.deepcopy(getattr(kernel, name)).requires_grad_(False))
        with torch.no_grad():
            normals, mapped = kernel.basis()
        self.register_buffer("normals", normals)
        self.register_buffer("mapped_normals", mapped)

    def basis(self) -> tuple[Tensor, Tensor]:
        """Unit embeddings N x De and their images under M1, N x De/2."""
        return self.normals, self.mapped_normals


class PogConv2d(GeneratedConv2d):
    """A convolution whose kernel POG generates for each image of the batch.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        kernel_size: k; the generated weights are N = Cout Cin k^2, ordered (Cout, Cin, k, k).
        embedding: De, even.
        stride: step in pixels.
        padding: zeros on each side, in pixels.

    Raises:
        ShapeError: for an odd De, or from `forward` if the input is not B x Cin x H x W.

    Examples:
        >>> import torch
        >>> from undim.nets import PogConv2d
        >>> PogConv2d(4, 6, 1, embedding=8)(torch.rand(2, 4, 5, 5)).shape  # another kernel for each picture
        torch.Size([2, 6, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        embedding: int = 64,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        super().__init__(PogKernel(in_channels, shape, embedding), in_channels, stride=stride, padding=padding)


def freeze(model: ModuleT) -> ModuleT:
    """Copy a model for inference: every POG generator stores what does not depend on the image.

    The copy is in evaluation mode and gives the same outputs; its generators can no longer be trained. The model
    itself is left as it is.

    Raises:
        ModelError: if the model is itself a generator.

    Examples:
        >>> import torch
        >>> from undim.nets import PogConv2d, freeze
        >>> layer, pictures = PogConv2d(4, 6, 1, embedding=8).eval(), torch.rand(2, 4, 5, 5)
        >>> before = layer(pictures)
        >>> torch.allclose(freeze(layer)(pictures), before, atol=1e-5)
        True
    """
    if isinstance(model, PogKernel):
        raise ModelError("freeze takes the network or convolution that contains POG generators, not a generator alone.")
    frozen = copy.deepcopy(model).eval()
    for module in list(frozen.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PogKernel):
                setattr(module, name, FrozenPogKernel(child).train(mode=False))
    return frozen
