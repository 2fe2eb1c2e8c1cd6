"""TensorRT's logger, for the builder and the runtime: it keeps the errors that explain a failure."""

from typing import Any


def logger(trt: Any) -> Any:
    """Keeps warnings and errors, which is where TensorRT says why it failed."""

    class Logger(trt.ILogger):  # type: ignore[misc] # the base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


def said(log: Any) -> str:
    return f"TensorRT says: {'; '.join(log.errors[-4:])}" if log.errors else "TensorRT does not say why."
