"""Rules of workflows: pure data and pure functions, no I/O."""
