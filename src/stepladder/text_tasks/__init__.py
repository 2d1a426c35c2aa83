"""The text tasks (translation, running text, masked, classes): all that differs from one to another, a record each."""
