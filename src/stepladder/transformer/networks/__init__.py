"""The networks of the text tasks, and reading a trained one."""
