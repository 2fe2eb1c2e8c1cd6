"""The published figures with measured points."""
