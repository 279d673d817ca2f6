"""One row for each explanation method: cheap options, for the tests that all go through."""

from explain.gradient.saliency import Saliency

# A new method adds a row here and is put through everything in test_method.py.
QUICK = {
    "saliency": Saliency(),
}
