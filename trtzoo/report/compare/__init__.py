"""Two measurements, cell by cell: which compare, and whether one is slower."""
