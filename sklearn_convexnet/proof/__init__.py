"""A fitted network turned into a statement about all networks."""
