"""Who is calling, and what they may do: bearer token -> Actor, and the permission vocabulary."""
