"""A training is started as a process of its own, checked, tried, and put in place."""
