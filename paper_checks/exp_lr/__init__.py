"""Claims of the exponential learning rate paper (arXiv:1910.07454)."""
