"""tpbench validates Tensor Programs theory against finite networks.

The main path is a straight line, one public function an arrow::

    Claim -> points -> run -> rows -> estimate -> verdict -> report

Importing this package imports neither torch nor seaborn: every heavy module is imported where it is used.
"""

__version__ = "0.1.0"
