"""The page of `holdfast fleet --html` and `--serve`: all jobs of all hosts, in one file."""
