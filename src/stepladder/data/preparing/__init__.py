"""Prepares the user's data for trainings to read."""
