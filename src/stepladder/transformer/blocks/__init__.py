"""What Transformers are built of: attention, positions, layers."""
