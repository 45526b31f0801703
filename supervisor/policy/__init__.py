"""The supervisor's decisions: child specs, when to restart and how soon, in which order to start and stop.

The functions are pure: no I/O, no clock. Times and random numbers are passed in. Only `tree.py` uses the agents'
rows, and its `add_services` writes them.

    spec           child specs
    intensity      how often a child may crash
"""
