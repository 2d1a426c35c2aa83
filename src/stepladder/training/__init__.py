"""The training loop: one process or several, exact resume, a journal of metrics."""
