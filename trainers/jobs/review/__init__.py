"""The command `review`: a person decides which perturbed samples still show their class."""

from trainers.jobs.review.review import run_review as run_review
