"""Whether a commit holds, what it changed, and its crate; and the verdict on any study."""
