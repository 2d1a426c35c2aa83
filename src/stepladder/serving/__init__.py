"""Serves trained models: a page, and predictions for complete files."""
