"""Sources, preparation and batches of data."""
