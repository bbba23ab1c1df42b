"""The convex program: losses and the pieces that are assembled into it."""
