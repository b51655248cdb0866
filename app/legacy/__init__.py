"""Data of the two former systems: the import of a snapshot, and the old shape of an agent for who still asks for it."""
