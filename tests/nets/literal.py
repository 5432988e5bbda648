"""Equations 4-7 of the paper written out term by term, with the N x De x De basis in full: the oracle for POG."""

import math

import torch


def householder_basis(embeddings):
    """Equation 4: E (N, De) -> B (N, De, De), B_i = I - 2 n_i n_i^T."""
    normals = embeddings / embeddings.norm(dim=1, keepdim=True)
    identity = torch.eye(embeddings.shape[1], dtype=embeddings.dtype)
    return torch.stack([identity - 2 * torch.outer(n, n) for n in normals])


def tanh_gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def pog_weights(image, parameters):
    """The N weights that one image (Cin, H, W) gets."""
    pooled = image.flatten(1).mean(1)
    hidden = tanh_gelu(parameters["fc1.weight"] @ pooled + parameters["fc1.bias"])
    scores = parameters["fc2.weight"] @ hidden + parameters["fc2.bias"]
    mixing = torch.exp(scores - scores.max()) / torch.exp(scores - scores.max()).sum()  # equation 5
    basis = householder_basis(parameters["embeddings"])
    specific = sum(mixing[j] * basis[:, :, j] for j in range(len(mixing)))  # equation 6, (N, De)
    decoded = tanh_gelu(specific @ parameters["m1.weight"].T + parameters["m1.bias"])
    return (decoded @ parameters["m2.weight"].T + parameters["m2.bias"])[:, 0]  # equation 7
