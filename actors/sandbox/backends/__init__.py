"""The rules of each kind of sandbox, as arguments, grants, profiles and filters; nothing here starts a process.

`bubblewrap.py` and `landlock.py` are for Linux, `seatbelt.py` is for macOS, `seccomp.py` has the system-call filters
of the first two. `workplace.py` has bubblewrap's mounts that show a worktree at the path of the user's checkout.
Imports only `environment`, `git_paths` and `policy` of the sandbox.
"""
