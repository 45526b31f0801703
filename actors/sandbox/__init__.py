"""Run the agents' commands confined: no files but the worktree, no sockets, no network unless allowed.

- `policy.py`: what is allowed (`SandboxPolicy`), a sandbox ready for use (`Sandbox`), what one command sees.
- `from_config.py`: the policy that the settings describe.
- `choose.py`: turn a policy into a `Sandbox` that works on this machine, or raise with the remedy.
- `run.py`: run one command within limits; `watch.py` reads its output and enforces the limits.
- `launch/`: start the processes and end all of them. `backends/`: the rules of each kind of sandbox.
- `selftest.py`: try every known escape from inside and report which ones are blocked.
- `output.py`, `record.py`: a command's output and its exit record, which survive a killed agent.
- `environment.py`: a command's variables. `git_paths.py`: the git folders that it may read. `usage.py`: the memory
  and processes that it uses. `errors.py`: errors of the sandbox itself.

Imports only the standard library, psutil, `store/shared`, `store.failpoints` and `actors/settings.py`. The one thing
to know: when `run_command` returns, every process that the command started has ended.
"""
