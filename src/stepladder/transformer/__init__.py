"""Transformers: attention, positions, layers, models over shared blocks, decoding, and the translation task."""
