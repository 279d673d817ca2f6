"""The one exception that means: we will not work with this file or model."""


class RefusedInput(Exception):
    """A file, folder or model that is corrupt, unsafe or does not match the job.

    The message says what was found, where, what is allowed and what to do next; the command
    line turns it into exit code 3.
    """
