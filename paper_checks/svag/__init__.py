"""Claims of "On the Validity of Modeling SGD with Stochastic Differential Equations" (arXiv:2102.12470)."""
