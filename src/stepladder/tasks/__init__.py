"""The parts of every family's task: experiment, optimiser, randomness."""
