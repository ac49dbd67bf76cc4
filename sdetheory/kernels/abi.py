"""How the driver calls kernels: their arguments, in order. Addresses and sizes are integers (i), keys unsigned (u), numbers f.

``advance``: step, n_steps, t0, dt, lanes, X, Z, V, S, T, rows of T, P, D, constants
``observe``: step, t0, dt, lanes, X, OUT, S, T, rows of T, P, constants
``tree``: fine block, coarse block, lanes, steps, rows a step, substeps, with area
``draw``: block, its rows, its lanes, first path, first index, key, scale
"""

ADVANCE_NAMES = ("step", "n_steps", "t0", "dt", "lanes", "X_", "Z_", "V_", "S_", "T_", "T_rows", "P_", "D_", "K_")
OBSERVE_NAMES = ("step", "t0", "dt", "lanes", "X_", "OUT_", "S_", "T_", "T_rows", "P_", "K_")
ADVANCE, OBSERVE, DRAW, TREE = "iiffiiiiiiiiii", "iffiiiiiiii", "iiiiiuf", "iiiiiii"
RUN = "iiii" "iii" "iiiiiii" "iiiiiuuffff" "iiiiiii" "iiiiii"
MOMENTS, PUT = "iiiiiii", "iiiiiiiii"
