"""Ensembles of finite networks in PyTorch: architectures, training, measurements."""
