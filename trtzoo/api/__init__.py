"""The public functions of `import trtzoo`; the commands call the same ones.

They return frozen records and print nothing. Messages go to the logger "trtzoo"; `trtzoo.core.console.show_messages()` prints
them and draws progress bars, as the command line does. A usage error, or something this machine cannot do, raises a
`trtzoo.TrtzooError`. One case that fails does not stop the others: its record says why.
"""

from trtzoo.api.checking import evaluate, parity
from trtzoo.api.judging import verdict
from trtzoo.api.making import build, export
from trtzoo.api.measuring import Results, bench, read_results

__all__ = ["Results", "bench", "build", "evaluate", "export", "parity", "read_results", "verdict"]
