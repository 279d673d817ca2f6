"""The augmentation that a fit draws from, as users write it."""

from dataclasses import replace

from augment import Dataset
from trainers.fit.classifier import Augment
from trainers.run.cli.specs.attacks import read_options, types_of


def build_augmentation(text: str, dataset: Dataset) -> Augment | None:
    """Make the augmentation that a text describes, of samples like those of a dataset.

    Args:
        text: none, classic, or classic:OPTION=VALUE,...
        dataset: its name and shape decide on what no option says.

    Raises:
        ValueError: for another name, an unknown option, or a value that is not allowed.
    """
    name, _, rest = text.partition(":")
    if text == "none":
        return None
    if name != "classic":
        raise ValueError(
            f"--augmentation is {text!r}; allowed: none, classic, or classic:OPTION=VALUE,..."
        )
    from augment import ClassicAugmentation, classic_for  # loads kornia, which takes a second

    options = read_options("--augmentation", rest, types_of(ClassicAugmentation))
    made = replace(classic_for(dataset.name, dataset.shape), **options)
    made.check_channels(dataset.shape[0])
    return made
