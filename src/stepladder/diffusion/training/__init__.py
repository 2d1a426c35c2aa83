"""How training samples and weights noise levels, and the task."""
