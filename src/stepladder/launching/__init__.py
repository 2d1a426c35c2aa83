"""Checks a training, starts it as a separate process, and puts the finished model in place."""
