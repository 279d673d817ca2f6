"""The names of the training methods, and which of their options each has a use for."""

from typing import Literal

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
