"""The plan: what will run, what exists already, what resumes from a checkpoint, and how long it will take."""
