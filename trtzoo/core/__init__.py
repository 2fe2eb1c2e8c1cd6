"""Records, files, statistics, errors and the console: what every other folder builds on."""
