"""What the reports are made of: sections, charts, tiles of samples, files, words."""
