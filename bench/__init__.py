"""Benchmarks: what the gateway costs, beside other ways to serve the same data. How to run them: bench/README.md."""
