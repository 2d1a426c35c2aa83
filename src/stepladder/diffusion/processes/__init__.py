"""What is learned: noise levels, schedules, what an output means."""
