"""Stage 4: tables from JSON files alone; no framework is imported here."""
