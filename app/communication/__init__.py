"""Communication: telegraph threads, meetings, and speech."""
