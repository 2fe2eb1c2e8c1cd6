"""The published figures with measured points: what they show (pictures.py) and how it is drawn (drawing.py)."""
