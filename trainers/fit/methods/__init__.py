"""Training methods, by the names of `--method`: what a step of a fit perturbs, and its loss."""

from trainers.fit.methods.ensemble import EnsembleTraining
from trainers.fit.methods.fast import FastTraining
from trainers.fit.methods.free import FreeTraining
from trainers.fit.methods.mart import Mart
from trainers.fit.methods.method import Method
from trainers.fit.methods.pgd_at import PgdTraining
from trainers.fit.methods.trades import Trades

METHODS: dict[str, Method] = {
    "standard": Method(),
    "bank": Method(),  # the samples of a bank are what it adds
    "pgd-at": PgdTraining(),
    "trades": Trades(),
    "mart": Mart(),
    "fast": FastTraining(),
    "free": FreeTraining(),
    "ensemble": EnsembleTraining(),
}
