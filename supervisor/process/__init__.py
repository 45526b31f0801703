"""The supervisor's processes: forking actors through the zygote, watching, stopping and replacing them.

`watch.py` runs on the main thread and only reports events. `children.py` runs on the supervisor's thread and
acts on them. The zygote, a process of its own, imports only what actors need.
"""
