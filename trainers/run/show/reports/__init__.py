"""What the report of each job shows, made of the files in its run folder alone."""
