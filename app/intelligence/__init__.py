"""Agent intelligence: what is measured about agents, learnt from them, and remembered by them."""
