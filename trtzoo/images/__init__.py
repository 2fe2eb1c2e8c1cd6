"""Photographs: labelled data sets, preprocessing as each publisher does it, and decoder processes."""

from trtzoo.images.dataset import DataSet, read_dataset

__all__ = ["DataSet", "read_dataset"]
