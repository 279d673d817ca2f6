"""The job `rounds`: attack, retrain, attack again."""

from trainers.jobs.rounds.rounds import run_rounds as run_rounds
