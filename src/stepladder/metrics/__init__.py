"""The figures there are: each declared once, and read by whoever measures, compares, draws, tracks or registers."""
