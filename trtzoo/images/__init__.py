"""Photographs: labelled data sets, preprocessing as each publisher does it, and decoder processes."""
