"""The names of the training methods, and which of their options each has a use for."""

from typing import Any, Literal

MethodName = Literal["standard", "bank", "pgd-at", "trades", "mart", "fast", "free", "ensemble"]
PERTURBING = ("pgd-at", "trades", "mart", "fast", "free", "ensemble")
# The methods that have a use for an option.
USERS: dict[str, tuple[str, ...]] = {
    "train_norm": PERTURBING,
    "train_eps": PERTURBING,
    "train_steps": ("pgd-at", "trades", "mart", "free"),
    "train_step_size": PERTURBING,
    "beta": ("trades", "mart"),
    "clean_share": PERTURBING,
    "label_smoothing": ("standard", "bank", "pgd-at", "trades", "fast", "free", "ensemble"),
}


def is_given(name: str, value: Any) -> bool:
    """Tell whether such an option was set to anything: 0 is a value of all but label_smoothing.

    >>> is_given("beta", 0.0), is_given("beta", None), is_given("label_smoothing", 0.0)
    (True, False, False)
    """
    return value not in (None, ()) and not (name == "label_smoothing" and value == 0)
