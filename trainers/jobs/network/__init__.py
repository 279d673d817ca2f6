"""The job `network`: what a classifier's layers respond to; one file for each of its parts."""

from trainers.jobs.network.network import run_network as run_network
