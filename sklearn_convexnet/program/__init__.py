"""The convex program: patterns, cones and what is assembled of them."""
