"""Processes: noise levels, schedules, and what the output of a network means."""
