"""Status of the crew (`status`) and of the model hosts, checks of the setup (`doctor`), and checks before start.

`status.py` and `hosts.py` import little, because `nightcrew status` must finish within 250 ms.

    preflight      checks that must pass before a crew starts
"""
