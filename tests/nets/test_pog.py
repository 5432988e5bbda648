"""POG against the literal equations, the public implementation's outputs, and its own promises."""

import json
from pathlib import Path

import pytest
import torch
from literal import householder_basis, pog_weights
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets import freeze
from undim.nets.pog import FrozenPogKernel, PogConv2d, PogKernel, unit_embeddings

FIXTURES = Path(__file__).parents[1] / "fixtures"


def make(in_channels=5, out_channels=6, size=1, embedding=8, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    return PogConv2d(in_channels, out_channels, size, embedding=embedding, **options).to(dtype)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [1, 3])
def test_equals_the_literal_equations(dtype, tolerance, size):
    conv = make(size=size, dtype=dtype)
    images = torch.randn(3, 5, 7, 9, dtype=dtype)
    kernels = conv.kernel(images)
    assert kernels.shape == (3, 6, 5, size, size)
    for image, kernel in zip(images, kernels, strict=True):
        expected = pog_weights(image, dict(conv.generator.named_parameters())).view(6, 5, size, size)
        assert relative(kernel, expected) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_gradients_equal_those_of_the_literal_equations(dtype, tolerance):
    conv = make(dtype=dtype)
    images = torch.randn(2, 5, 4, 4, dtype=dtype, requires_grad=True)
    probe = torch.randn(2, 30, dtype=dtype)
    leaves = [images, *conv.generator.parameters()]
    ours = torch.autograd.grad((conv.kernel(images).flatten(1) * probe).sum(), leaves)
    parameters = dict(conv.generator.named_parameters())
    literal = torch.stack([pog_weights(image, parameters) for image in images])
    expected = torch.autograd.grad((literal * probe).sum(), leaves)
    for got, want in zip(ours, expected, strict=True):
        assert relative(got, want) < tolerance


def test_gradcheck():
    conv = make(in_channels=3, out_channels=2, embedding=4)
    names = [name for name, _ in conv.generator.named_parameters()]
    images = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)

    def run(images, *parameters):
        named = {f"generator.{name}": value for name, value in zip(names, parameters, strict=True)}
        return torch.func.functional_call(conv, named, (images,))

    assert torch.autograd.gradcheck(run, (images, *conv.generator.parameters()))


def fixture(name):
    path = FIXTURES / f"pog_conv_{name}.safetensors"
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    conv = PogConv2d(
        config["in_channels"], config["out_channels"], config["kernel_size"], embedding=config["embedding_dim"]
    )
    names = {
        "embeddings": "train_embedding.weight",
        "fc1": "train_img_k.fc1",
        "fc2": "train_img_k.fc2",
        "m1": "train_mlp",
        "m2": "train_mlp2",
    }
    state = {}
    for key, value in conv.generator.state_dict().items():
        layer, _, kind = key.partition(".")
        state[key] = tensors["weight." + names[layer] + (f".{kind}" if kind else "")].reshape(value.shape)
    conv.generator.load_state_dict(state)
    return conv, tensors["input"], tensors["output"]


@pytest.mark.parametrize("name", ["wide", "narrow"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_reproduces_the_public_implementation_on_a_batch_of_three(name, layout):
    conv, images, expected = fixture(name)
    assert len(images) == 3
    with torch.no_grad():
        images = images.contiguous(memory_format=layout)
        assert torch.allclose(conv(images), expected, rtol=0, atol=1e-5)
        assert torch.allclose(freeze(conv)(images), expected, rtol=0, atol=1e-5)


def test_basis_is_orthogonal():
    generator = make(in_channels=3, out_channels=4, embedding=8).generator
    normals, mapped = generator.basis()
    identity = torch.eye(8, dtype=torch.float64)
    basis = identity - 2 * normals.unsqueeze(2) * normals.unsqueeze(1)
    assert torch.allclose(basis @ basis.transpose(1, 2), identity.expand(12, 8, 8), atol=1e-12)
    assert torch.allclose(basis, householder_basis(generator.embeddings), atol=1e-12)
    assert torch.allclose(mapped, normals @ generator.m1.weight.T, atol=1e-12)


def test_a_generator_alone_is_not_frozen_and_freezing_draws_no_random_numbers():
    conv = make()
    with pytest.raises(ModelError, match="not a generator alone"):
        freeze(conv.generator)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    freeze(conv)
    assert torch.equal(torch.rand(3), expected)


def test_mixing_weights_lie_on_the_simplex():
    mixing = make().generator.mixing(torch.randn(4, 5, dtype=torch.float64) * 10)
    assert (mixing >= 0).all()
    assert torch.allclose(mixing.sum(1), torch.ones(4, dtype=torch.float64))


def test_kernels_differ_between_images_and_not_between_copies():
    conv = make()
    images = torch.randn(2, 5, 6, 6, dtype=torch.float64)
    first, second, again = conv.kernel(torch.cat((images, images[:1])))
    assert torch.allclose(first, again, rtol=0, atol=1e-14)
    assert (first - second).abs().max() > 1e-4 * first.abs().max()


def test_batch_equals_one_by_one():
    conv = make(size=3, padding=1, stride=2)
    images = torch.randn(3, 5, 9, 8, dtype=torch.float64)
    assert torch.allclose(conv(images), torch.cat([conv(image[None]) for image in images]), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"stride": 2, "padding": 2}])
@pytest.mark.parametrize("size", [1, 3])
def test_convolution_equals_conv2d_with_the_generated_kernel(size, options):
    conv = make(size=size, **options)
    images = torch.randn(2, 5, 8, 9, dtype=torch.float64)
    kernels = conv.kernel(images)
    expected = torch.cat(
        [F.conv2d(image[None], kernel, **options) for image, kernel in zip(images, kernels, strict=True)]
    )
    assert torch.allclose(conv(images), expected, atol=1e-12)


def test_never_builds_the_basis():
    """With N = 4096 and De = 64 the basis alone would take 4096 x 64 x 64 x 4 bytes = 64 MiB."""
    generator = PogKernel(8, (64, 64, 1, 1), embedding=64)
    pooled = torch.randn(1, 8)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    with Watch():
        generator(pooled).sum().backward()
    assert 0 < largest <= generator.weights * 64


def test_frozen_gives_the_same_and_leaves_the_model_alone():
    conv = make(dtype=torch.float32)
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    conv.train()
    frozen = freeze(conv)
    images = torch.randn(3, 5, 6, 7)
    assert isinstance(frozen.generator, FrozenPogKernel)
    assert isinstance(conv.generator, PogKernel)
    assert conv.training
    assert not frozen.training
    assert torch.allclose(frozen(images), conv(images), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(torch.equal(value, before[key]) for key, value in conv.state_dict().items())


def test_eval_alone_freezes_nothing():
    conv = make().eval()
    assert isinstance(conv.generator, PogKernel)


def test_scale_of_an_embedding_has_no_effect():
    conv = make()
    images = torch.randn(1, 5, 4, 4, dtype=torch.float64)
    before = conv.kernel(images)
    with torch.no_grad():
        conv.generator.embeddings.mul_(37)
    assert torch.allclose(conv.kernel(images), before, atol=1e-12)


def test_zero_embedding_means_identity_basis_and_no_gradient():
    conv = make()
    images = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        conv.generator.embeddings[3] = 0
    kernels = conv.kernel(images).flatten(1)
    generator = conv.generator
    mixing = generator.mixing(images.mean((2, 3)))
    expected = generator.m2(F.gelu(generator.m1(mixing), approximate="tanh"))[:, 0]
    assert torch.allclose(kernels[:, 3], expected)
    kernels.sum().backward()
    assert torch.equal(generator.embeddings.grad[3], torch.zeros(8, dtype=torch.float64))
    assert generator.embeddings.grad[2].abs().max() > 0
    assert torch.isfinite(generator.embeddings.grad).all()


def test_nan_stays_in_its_image_and_nan_embeddings_show():
    conv = make()
    images = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    images[0, 0, 0, 0] = torch.nan
    kernels = conv.kernel(images)
    assert kernels[0].isnan().all()
    assert kernels[1].isfinite().all()
    assert unit_embeddings(torch.full((1, 4), torch.nan)).isnan().all()


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (5, 3, 3), (2, 5)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ShapeError, match=r"B x 5 x H x W\. Got \("):
        make()(torch.zeros(shape, dtype=torch.float64))


def test_odd_embedding_is_refused():
    with pytest.raises(ShapeError, match="even"):
        PogConv2d(2, 2, 1, embedding=5)
