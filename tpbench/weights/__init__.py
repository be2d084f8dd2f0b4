"""Gaussian weight matrices of an ensemble, and the low-rank updates that SGD adds to them."""
