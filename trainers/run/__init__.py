"""The program around the loops: command line, run folder, checkpoints, pictures and report."""
