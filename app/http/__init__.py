"""The edges: HTTP, sockets, health and metrics in front of the graph. They know no domain either."""
