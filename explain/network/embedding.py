"""A map of samples in the plane, on which those that a layer holds to be alike are near."""

import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

DIMENSIONS = 50  # that PCA leaves, as in the paper


def embed(vectors: Tensor, *, perplexity: float = 30.0, seed: int = 0) -> Tensor:
    """Place vectors in the plane by t-SNE, after PCA to at most 50 dimensions.

    Args:
        vectors: (N, D), such as `collect_vectors` returns.
        perplexity: about how many neighbours each has; below N.
        seed: of the two methods.

    Returns:
        Points (N, 2), float32.

    Raises:
        ValueError: for fewer vectors than the perplexity needs, or none that are finite.

    Source: van der Maaten & Hinton 2008, section 3 and 4.2.
    """
    if vectors.ndim != 2 or not 0 < perplexity < len(vectors):
        raise ValueError(
            f"perplexity is {perplexity} for vectors {tuple(vectors.shape)}; give (N, D) and a "
            "number above 0 and below N"
        )
    rows = reduce_dimensions(vectors, seed=seed).double().numpy()
    method = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return torch.from_numpy(method.fit_transform(rows)).float()


def reduce_dimensions(vectors: Tensor, *, seed: int = 0) -> Tensor:
    """Project vectors (N, D) on their first 50 principal components; fewer stay as they are.

    Args:
        vectors: (N, D).
        seed: of the method, which draws where there are many of both.

    Returns:
        Vectors (N, min(D, 50)) on the CPU, float32; (N, D) where N is at most 50.
    """
    rows = vectors.detach().cpu()
    if rows.shape[1] <= DIMENSIONS or len(rows) <= DIMENSIONS:
        return rows.float()
    found = PCA(DIMENSIONS, random_state=seed).fit_transform(rows.double().numpy())
    return torch.from_numpy(found).float()
