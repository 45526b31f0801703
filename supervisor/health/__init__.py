"""What state everything is in: the crew (`status`), the model hosts, the setup (`doctor`), and checks at start.

`status.py` and `hosts.py` import little, because `nightcrew status` is to answer within a quarter of a second.

    preflight      what must be true before a crew starts
"""
