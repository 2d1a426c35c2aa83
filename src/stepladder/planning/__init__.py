"""What will run, what is there already, what goes on from a checkpoint, and what it will take."""
