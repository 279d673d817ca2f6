"""The error of bytes that are no code file."""


class FormatError(ValueError):
    """The bytes are damaged, cut off, of another version, or ask for more than is allowed."""
