"""How levels are drawn and weighted in training, and the task."""
