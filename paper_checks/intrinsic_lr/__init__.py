"""The intrinsic learning rate (arXiv:2010.02916): claims ILR-1 … ILR-15, one file each."""
