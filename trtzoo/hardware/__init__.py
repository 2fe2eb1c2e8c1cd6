"""GPUs as data (gpus.toml), the devices of this machine, and probes and monitors that run in child processes."""
