"""The mappings, a file for each group of domains (MIG-1 to MIG-9)."""
