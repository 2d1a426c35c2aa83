"""Training the networks of the text tasks."""
