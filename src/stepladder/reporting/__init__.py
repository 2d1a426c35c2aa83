"""What was found: the comparison of the sweep, its figures, and the page that shows them."""
