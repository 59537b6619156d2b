"""Says of a commit whether its results hold, and what changed in them."""
