"""How good pictures and translations are."""
