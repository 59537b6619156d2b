"""What reviewers run: whether a commit holds and what it changed, and the verdict on any study."""
