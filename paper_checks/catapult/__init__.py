"""The claims of the catapult paper (arXiv:2003.02218)."""
