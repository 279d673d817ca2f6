"""What is wrong with bytes that are no code."""


class FormatError(ValueError):
    """The bytes are damaged, cut off, of another version, or ask for more than is allowed."""
