"""Trained models in use by others: a page, and predictions for whole files."""
