"""Scores of maps on equal ground: faithful, well placed, stable, and not blind to the weights."""
