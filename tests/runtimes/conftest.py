from tests.cuda.emulated import driver, gpu, pytest_collection_modifyitems, pytest_runtest_protocol, script

__all__ = ["driver", "gpu", "pytest_collection_modifyitems", "pytest_runtest_protocol", "script"]
