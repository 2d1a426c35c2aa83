"""Results for people: the comparison of the sweep, its figures, and the page that shows them."""
