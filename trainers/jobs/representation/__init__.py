"""The job `representation`: samples led to the representations of others, and what they become."""

from trainers.jobs.representation.representation import (
    run_representation as run_representation,
)
