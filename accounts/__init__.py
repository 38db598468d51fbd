"""People, teams, handles, and the credentials that let machines in. Knows nothing of events."""
