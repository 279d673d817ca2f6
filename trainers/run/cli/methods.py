"""The names of the training methods, and which of their options each has a use for."""

from typing import Literal

MethodName = Literal["standard", "pgd-at", "trades", "mart", "fast"]
PERTURBING = ("pgd-at", "trades", "mart", "fast")
# The methods that have a use for an option.
USERS: dict[str, tuple[str, ...]] = {
    "train_norm": PERTURBING,
    "train_eps": PERTURBING,
    "train_steps": ("pgd-at", "trades", "mart"),
    "train_step_size": PERTURBING,
    "beta": ("trades", "mart"),
    "clean_share": ("pgd-at", "fast"),
    "label_smoothing": ("standard", "pgd-at", "trades", "fast"),
}
