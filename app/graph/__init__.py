"""The graph kit: what every domain's types, fields and errors are made with. It knows no domain."""
