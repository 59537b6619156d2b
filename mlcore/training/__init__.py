"""One observed training, of whatever kind: what is fitted, watched and written."""
