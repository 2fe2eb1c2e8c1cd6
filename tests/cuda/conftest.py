from tests.cuda.emulated import driver, gpu, pytest_runtest_protocol, script

__all__ = ["driver", "gpu", "pytest_runtest_protocol", "script"]
