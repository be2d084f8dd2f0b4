"""From PyTorch code to a Tensor Program."""
