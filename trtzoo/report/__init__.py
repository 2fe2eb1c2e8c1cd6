"""Tables, figures, the page and comparisons, from result files only: no framework is imported. To add a column, see tables/."""

from trtzoo.report.results import Found, load_files, load_results

__all__ = ["Found", "load_files", "load_results"]
