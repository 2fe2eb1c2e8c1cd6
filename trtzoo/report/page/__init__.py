"""The HTML page: rows of data, the page, and its script and style (assets/)."""
