"""Tables as values, and their formats."""
