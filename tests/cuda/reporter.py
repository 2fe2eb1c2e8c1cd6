"""A plugin for the child process on the emulated driver: it appends each report to a file as a line of JSON."""

import json
import os

import pytest


class Reporter:
    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        with open(os.environ["TRTZOO_EMULATED"], "a") as file:  # noqa: PTH123
            file.write(json.dumps(data) + "\n")


@pytest.hookimpl
def pytest_configure(config):
    config.pluginmanager.register(Reporter(config))
