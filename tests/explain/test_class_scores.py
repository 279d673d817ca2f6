"""Probabilities of a class, in passes that a CPU is quick with."""

import pytest
import torch

from explain.class_scores import CPU_VALUES, probabilities


@pytest.mark.parametrize(("shape", "chunk", "largest"), [((3, 4, 4), 5, 5), ((3, 300, 300), 5, 1)])
def test_passes_are_as_large_as_memory_and_caches_let_them_be(shape, chunk, largest):
    sizes = []

    def classify(x):
        sizes.append(len(x))
        return torch.stack([x.flatten(1).mean(1), x.flatten(1).amax(1)], 1)

    x, y = torch.rand(6, *shape), torch.tensor([0, 1, 0, 1, 0, 1])
    found = probabilities(classify, x, y, chunk=chunk)
    assert max(sizes) == largest
    assert largest == min(chunk, max(1, CPU_VALUES // x[0].numel()))
    torch.testing.assert_close(found, classify(x).softmax(1)[torch.arange(6), y])
