"""Lineage: what a row came from and what came from it, as a graph for pictures. Spans all domains, so it is none."""
