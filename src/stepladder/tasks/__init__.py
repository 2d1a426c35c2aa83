"""What every family's task is made of: experiment, optimiser, randomness."""
