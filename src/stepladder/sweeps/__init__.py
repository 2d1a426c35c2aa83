"""Sweeps: one family of models over a space of any parameters, by grid, at random or by Optuna, over several seeds."""
