"""The supervisor's processes: forking actors through the zygote, watching, stopping and replacing them.

`watch.py` runs on the main thread and only reports events. `children.py` runs on the supervisor's thread and
acts on them. The zygote, a process of its own, imports only what actors need.

    zygote         forks actors on request
    warm_up        runs some turns before the first fork
    launch         starts and ends children
    child          one child, as the supervisor sees it
    records        the agents' rows
    recovery       kills what an earlier supervisor left running
    unresponsive   finds processes that are alive but blocked
"""
