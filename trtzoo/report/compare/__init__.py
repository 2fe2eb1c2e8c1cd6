"""Compare two measurements cell by cell: which cells compare, and whether one is slower."""
