"""What agent versions are judged by: suites, runs of them, the numbers they yield, and scoring functions."""
