"""The explanation methods by the names that the command line has for them."""

from explain.gradient.saliency import Saliency
from explain.method import ExplanationMethod

METHODS: dict[str, type[ExplanationMethod]] = {
    "saliency": Saliency,
}
