"""Tables, figures, the page and comparisons, from result files only: no framework is imported. To add a column, see tables/."""
