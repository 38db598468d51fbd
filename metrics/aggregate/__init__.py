"""The writers: events become rollups exactly once, and old ones make room."""
