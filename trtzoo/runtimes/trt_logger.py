"""TensorRT's logger, for the builder and the runtime: it keeps the errors that explain a failure."""

from typing import Any


def make_logger(trt: Any) -> Any:
    """A logger for the module `trt` that keeps error messages in `errors` and discards the rest."""

    class Logger(trt.ILogger):  # type: ignore[misc] # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


def logged_errors(logger: Any) -> str:
    """The last errors as a sentence."""
    return f"TensorRT reports: {'; '.join(logger.errors[-4:])}" if logger.errors else "TensorRT gives no reason."
