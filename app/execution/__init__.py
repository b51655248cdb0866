"""Task execution: the work, its threads, the runs and tool calls that did it, and the reviews of it."""
