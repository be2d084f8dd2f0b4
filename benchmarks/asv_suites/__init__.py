"""What asv measures at every commit: time, memory, and the distance of tpbench's numbers from theory.

Every benchmark pins its ``version``: asv would otherwise take an edited benchmark for another one and start its
history anew. Raise the number when a benchmark measures something else than before.
"""
