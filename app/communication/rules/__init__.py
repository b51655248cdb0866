"""Rules of communication: what may be sent, and what a meeting's notes say."""
