"""Stage 3: latency. A sweep of cases, one process each; loops, protocols and warnings."""
