"""What can be asked of the rollups, as values."""
