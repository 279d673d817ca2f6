"""Training methods, by the names of `--method`: what loss a step of a fit takes."""

from trainers.fit.methods.fast import fast
from trainers.fit.methods.mart import mart
from trainers.fit.methods.method import Method
from trainers.fit.methods.pgd_at import pgd_at
from trainers.fit.methods.standard import standard
from trainers.fit.methods.trades import trades

METHODS: dict[str, Method] = {
    "standard": standard,
    "pgd-at": pgd_at,
    "trades": trades,
    "mart": mart,
    "fast": fast,
}
