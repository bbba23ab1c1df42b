"""What is proved of any point: dual bounds, and the search for a neuron that is missing."""
