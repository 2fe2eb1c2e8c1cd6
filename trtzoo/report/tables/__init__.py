"""Tables. A column is a row: of ACCURACY_COLUMNS (accuracy.py), LATENCY_COLUMNS (latency.py), LOGIT_COLUMNS (parity.py)."""
