from tests.cuda.emulated import driver, gpu, pytest_runtest_protocol

__all__ = ["driver", "gpu", "pytest_runtest_protocol"]
