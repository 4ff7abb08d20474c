"""Domain functions on a clock."""
