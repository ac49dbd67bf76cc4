"""The claims of the papers, each held against a simulation: one folder a paper, one file a claim.

A claim's file is named `<prefix>_<number>_<slug>.py` (`intrinsic_lr/ilr_04_equilibrium.py` is ILR-4) and defines `claim`,
a `sdetheory.Claim`. `registry` finds it from there; `paper-checks run` verifies it.
"""
