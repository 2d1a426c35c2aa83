"""The figures there are: each declared once, and read by the code that measures, compares, plots, tracks or registers."""
