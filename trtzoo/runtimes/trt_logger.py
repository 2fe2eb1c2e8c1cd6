"""TensorRT's logger, for the builder and the runtime: it keeps the errors that explain a failure, and the warnings."""

from typing import Any

WARNINGS, LENGTH = 20, 300  # how many different warnings are kept, and how many characters of each


def make_logger(trt: Any) -> Any:
    """A logger for the module `trt` that keeps errors and the first WARNINGS different warnings, and discards the rest."""

    class Logger(trt.ILogger):  # type: ignore[misc] # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)
            elif int(severity) == int(trt.ILogger.WARNING) and len(self.warnings) < WARNINGS:
                self.warnings += [text for text in [message[:LENGTH]] if text not in self.warnings]

        def reason(self) -> str:
            """The last errors as a sentence."""
            return f"TensorRT reports: {'; '.join(self.errors[-4:])}" if self.errors else "TensorRT gives no reason."

    return Logger()
