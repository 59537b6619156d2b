"""What the report printed beside what came out, and whether it holds."""
