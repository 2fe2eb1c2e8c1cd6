"""The type of a NumPy array in signatures; shapes and element types are in the docstrings."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
