"""Rows of a classifier's Jacobian, one at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from attacks.common.goal import check_differentiable


def jacobian_rows(values: Tensor, x: Tensor) -> Iterator[Tensor]:
    """Yield the gradient in x of each column of values: one backward pass each, no forward pass.

    Only the row at hand is kept, so memory does not grow with the number of classes. An entry
    that is not finite shows no way and is 0.

    Args:
        values: (B, k), computed from x; row i depends on x[i] alone.
        x: (B, ...), a leaf that requires a gradient.

    Yields:
        k tensors like x; entry i of the j-th is the gradient of values[i, j].

    Raises:
        ValueError: when no gradient flows to values.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> [row.tolist() for row in jacobian_rows(x * x, x)]
    [[[2.0, 0.0], [6.0, 0.0]], [[0.0, 4.0], [0.0, 8.0]]]
    """
    check_differentiable(values)
    columns = values.sum(0).unbind()  # k numbers; no sample's part in them depends on another
    for number, column in enumerate(columns, start=1):
        (row,) = torch.autograd.grad(column, x, retain_graph=number < len(columns))
        yield row.contiguous().nan_to_num(0, 0, 0)
