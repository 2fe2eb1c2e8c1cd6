"""GPUs as data, the devices of this machine, and probes and monitors that run in child processes."""
