import pytest
import torch

from attacks.minimum_norm.nearest_boundary import jacobian_rows


def test_rows_are_those_of_the_jacobian(net, batch):
    model, (x, _) = net(dtype=torch.float64).eval(), batch(3, dtype=torch.float64)
    whole = torch.autograd.functional.jacobian(lambda v: model(v).sum(0), x)  # (K, B, ...)
    x.requires_grad_()
    rows = list(jacobian_rows(model(x), x))
    torch.testing.assert_close(torch.stack(rows), whole, atol=1e-12, rtol=0)


def test_chosen_classes_take_one_forward_pass_and_as_many_backward(net, batch):
    model, (x, _) = net().eval(), batch(2)
    counts = {"forward": 0, "backward": 0}
    model.register_forward_hook(lambda *_: counts.update(forward=counts["forward"] + 1))
    model.features.register_full_backward_hook(
        lambda *_: counts.update(backward=counts["backward"] + 1)
    )
    x.requires_grad_()
    chosen = torch.tensor([[3, 1], [0, 2]])
    rows = jacobian_rows(model(x).gather(1, chosen), x)
    assert counts == {"forward": 1, "backward": 0}
    assert [row.shape for row in rows] == [x.shape] * 2
    assert counts == {"forward": 1, "backward": 2}


def test_what_is_not_finite_is_zero():
    x = torch.tensor([[0.0, 4.0]], requires_grad=True)
    (row,) = jacobian_rows(x.sqrt().sum(1, keepdim=True), x)  # the slope of a root at 0: infinite
    assert row.tolist() == [[0.0, 0.25]]


def test_values_without_a_gradient_are_refused():
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match="carry no gradient"):
        next(jacobian_rows(x.detach() * 2, x))
