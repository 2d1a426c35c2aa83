"""The state of a running training: metrics for the journal, progress lines for people."""
