"""The rules of each kind of sandbox, as arguments, grants, profiles and filters; nothing here starts a process.

`bubblewrap.py` and `landlock.py` for Linux, `seatbelt.py` for macOS, `seccomp.py` the system-call filters of
the first two. Imports only `environment`, `git_paths` and `policy` of the sandbox.

    workplace      the mounts that show a worktree at the checkout's path
"""
