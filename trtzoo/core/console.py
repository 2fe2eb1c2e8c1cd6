"""The console of the talk, which can be told to be quiet: `Talk.silent` is for all of them."""

import os
from typing import Any

from rich.console import Console


class Talk(Console):
    """When `silent` it says what is printed in red alone: errors."""

    silent = False

    def print(self, *objects: Any, style: Any = None, **more: Any) -> None:
        if not self.silent or style == "red":
            super().print(*objects, style=style, **more)

    @property
    def is_terminal(self) -> bool:
        """Whether bars are drawn and colours used: never where NO_COLOR is set, for both are escape codes."""
        return not self.silent and not os.environ.get("NO_COLOR") and super().is_terminal
