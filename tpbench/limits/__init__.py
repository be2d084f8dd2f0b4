"""What n -> ∞ gives: Gaussian moments and kernels in PyTorch, trajectories in NumPy, float64."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
