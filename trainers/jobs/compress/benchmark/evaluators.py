"""Evaluators of reconstructions: the classifier, the held-out one (the judge), and metrics."""

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks import RefusedInput
from attacks.common.randomness import derive_seed
from augment import Dataset
from augment.splits import choose_balanced
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.quality import mean, ms_ssim, nearest, psnr, ssim
from trainers.evaluate.scores import doubts_of
from trainers.fit.fit_or_load import default_fit_flags, fit_or_load
from trainers.models.factory import needs_weights
from trainers.run.cli.config import ClassifierFlags
from trainers.run.cli.jobs.compress import CompressEvaluateConfig
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import ChangedInput
from trainers.run.job_context import JobContext, check_alike, load_job_classifier, load_split
from trainers.run.session import choose_device

log = logging.getLogger(__name__)
FEWEST = 10  # training samples of each class, for a classifier of its own half
Numbers = dict[str, float | None]
Loaded = JobContext | None


@dataclass(frozen=True)
class Evaluators:
    """The samples, and the classifiers that look at them and at what is decoded.

    Attributes:
        x: the samples (N, ...).
        y: their labels (N,); None where they have none.
        train: training samples; None where no classifier can be fitted to them.
        model: the classifier; None where there is none.
        held_out: the judge, another classifier, fitted to other samples; None where there is none.
        batch_size: samples that they look at at once.
        device: where they do.
    """

    x: Tensor
    y: Tensor | None
    train: Dataset | None
    model: nn.Module | None
    held_out: nn.Module | None
    batch_size: int
    device: torch.device

    def answers(self, who: nn.Module | None, x: Tensor) -> Tensor | None:
        """Return the top classes (N,) of samples (N, ...) to a classifier; -1 for no answer."""
        if who is None:
            return None
        parts = torch.split(x, self.batch_size)
        return torch.cat([top_classes(predict(who, part.to(self.device))).cpu() for part in parts])

    def doubts(self) -> list[str]:
        """Return why classifier and judge may be none, see `doubts_of`."""
        found: list[str] = []
        for name, who in (("classifier", self.model), ("judge", self.held_out)):
            own = self.answers(who, self.x)
            if who is None or own is None or self.y is None:
                continue
            classes = predict(who, self.x[:1].to(self.device)).shape[1]
            found += [f"{name}: {doubt}" for doubt in doubts_of(own, self.y, classes=classes)]
        return found

    def measure(self, got: Tensor) -> Numbers:
        """Say how good reconstructions (N, ...) are, rounded to bytes as pictures are.

        Returns:
            psnr, ssim and ms_ssim, means over samples; top1_kept and judge_kept, how often the
            classifier and the judge answer as for the sample itself; judge_accuracy, how often
            the judge is right; agreement, how often the two answer alike; retrieval, how often
            no other sample is nearer. None where there is nobody to ask.
        """
        got = (got * 255).round() / 255
        batches = (torch.split(x, self.batch_size) for x in (self.x, got))
        pairs = list(zip(*batches, strict=True))
        many = [part for a, b in pairs if (part := ms_ssim(a, b)) is not None]
        first, second = self.answers(self.model, got), self.answers(self.held_out, got)
        return {
            "psnr": mean(psnr(self.x, got)),
            "ssim": mean(torch.cat([ssim(a, b) for a, b in pairs])),
            "ms_ssim": mean(torch.cat(many)) if many else None,
            "top1_kept": _share(first, self.answers(self.model, self.x)),
            "judge_kept": _share(second, self.answers(self.held_out, self.x)),
            "judge_accuracy": _share(second, self.y),
            "agreement": _share(first, second),
            "retrieval": mean(nearest(got, self.x)),
        }


def _share(a: Tensor | None, b: Tensor | None) -> float | None:
    """Return the share of samples on which two answers are equal; -1 equals none."""
    return None if a is None or b is None else mean((a == b) & (a >= 0))


def load_training_samples(
    config: CompressEvaluateConfig, folder: RunFolder, test: Dataset, warnings: list[str]
) -> Dataset | None:
    """Return the training samples, where classifiers can be fitted to them; else add a warning."""
    if test.num_classes < 2 or int(test.labels.min()) < 0:
        warnings.append(f"{test.name} has no classes, so nobody is fitted to tell them apart")
        return None
    try:
        train = load_split(config, "train", folder)
    except ChangedInput:
        raise
    except RefusedInput as error:
        warnings.append(f"nobody is fitted to tell classes apart: {error}")
        return None
    check_alike(train, test)
    if len(train) < 2 * FEWEST * train.num_classes:
        warnings.append(
            f"nobody is fitted to tell classes apart: {len(train)} training samples of "
            f"{train.num_classes} classes are too few, two halves take {2 * FEWEST} of each"
        )
        return None
    return train


def load_evaluators(
    config: CompressEvaluateConfig, folder: RunFolder, test: Dataset, warnings: list[str]
) -> Evaluators:
    """Load the classifier and the judge; those without weights are fitted, to halves of their own.

    A judge beside a classifier that came with weights gets a half too, of samples which that
    classifier may have seen.
    """
    flags = config.measure
    judge = ClassifierFlags(flags.judge_model, flags.judge_weights, config.classifier.num_classes)
    train = load_training_samples(config, folder, test, warnings)
    first, second = split_in_halves(train, config.run.seed) if train else (None, None)
    both = (("classifier", "", config.classifier, first), ("judge", "judge-", judge, second))

    def load(who: str, prefix: str, flags: ClassifierFlags, half: Dataset | None) -> Loaded:
        if half is None and not _given(flags):
            return None
        run = replace(config.run, seed=derive_seed(config.run.seed, who))
        own = replace(config, classifier=flags, run=run)
        return load_job_classifier(own, folder, test, flag=f"--{prefix}model")

    # Both are loaded before either is fitted: what is refused is refused at once.
    contexts = [load(*each) for each in both]
    for (who, prefix, classifier, half), context in zip(both, contexts, strict=True):
        if context is None:
            warnings.append(f"there is no {who}; --{prefix}weights FILE names one")
        elif half is not None and not _given(classifier):
            _fit(context, who, half)
    model, held_out = (context.model if context else None for context in contexts)
    x, labels = test.stack(range(len(test)))
    y = labels if test.num_classes > 0 and int(labels.min()) >= 0 else None
    device = choose_device(config.run.device)
    evaluators = Evaluators(x, y, train, model, held_out, config.source.batch_size, device)
    warnings += evaluators.doubts()
    return evaluators


def split_in_halves(train: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Cut a data set in two of the same classes, which share no sample."""
    first = choose_balanced(train.labels, len(train) // 2, seed=derive_seed(seed, "halves"))
    others = torch.ones(len(train), dtype=torch.bool)
    others[first] = False
    return train.subset(first), train.subset(others.nonzero()[:, 0])


def _given(flags: ClassifierFlags) -> bool:
    """Tell whether a classifier comes with weights."""
    return flags.weights is not None or not needs_weights(flags.model)


def _fit(context: JobContext, who: str, half: Dataset) -> None:
    """Fit a classifier to half of the training samples."""
    log.info("fitting the %s to %d training samples", who, len(half))
    run, data = context.config.run, context.config.source.data
    file = context.folder.checkpoints / f"{who}.safetensors"
    fit_or_load(
        context, file, half, flags=default_fit_flags(data, smoke=run.smoke), number=0, who=who
    )
