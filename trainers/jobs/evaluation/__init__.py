"""The parts of the job `evaluate`: one file a part, each finding what is done of it already."""
