"""The penalty that the data ask for."""
