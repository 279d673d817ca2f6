"""The command line: options, where they come from, what is refused."""
