"""Finite networks of every architecture, dense or lazy: one text each, whatever supplies its linear maps."""

from tpbench.networks.architectures.elementwise import elementwise
from tpbench.networks.architectures.maps import Given, Maps, Recorder, Use, Weights
from tpbench.networks.architectures.network import Network, initial, run

__all__ = ["Given", "Maps", "Network", "Recorder", "Use", "Weights", "elementwise", "initial", "run"]
