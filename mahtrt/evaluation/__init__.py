"""How good a network is against annotations, and whether another one is better."""
