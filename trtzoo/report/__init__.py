"""Stage 4: tables, figures, page and comparisons, from result files alone. No framework is imported."""
