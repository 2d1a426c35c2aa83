"""What figures are worth: when a model counts as failed, and which model and which data its figures are of."""
