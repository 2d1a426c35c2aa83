"""The networks that are told a noise level and a condition."""
