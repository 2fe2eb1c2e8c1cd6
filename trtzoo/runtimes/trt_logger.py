"""TensorRT's logger, for the builder and the runtime: it keeps the errors that explain a failure."""

from typing import Any


def make_logger(trt: Any) -> Any:
    """A logger for the module `trt` that keeps error messages and discards the rest."""

    class Logger(trt.ILogger):  # type: ignore[misc] # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)

        def reason(self) -> str:
            """The last errors as a sentence."""
            return f"TensorRT reports: {'; '.join(self.errors[-4:])}" if self.errors else "TensorRT gives no reason."

    return Logger()
