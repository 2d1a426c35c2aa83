"""Data as its owner has it, made into what trainings read."""
