"""Rules of execution: pure functions, no I/O."""
