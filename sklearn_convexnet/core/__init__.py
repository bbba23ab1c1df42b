"""What everything stands on: rows, networks, losses and threads."""
