"""Training on the samples as they are."""

import torch.nn.functional as F
from torch import Tensor

from trainers.fit.methods.method import TrainingStep


def standard(training: TrainingStep, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of x (B, ...) and their mean cross-entropy; see `Method`.

    BatchNorm sees the batch once.
    """
    logits = training.forward(x)
    return logits, F.cross_entropy(logits, y, label_smoothing=training.options.label_smoothing)
