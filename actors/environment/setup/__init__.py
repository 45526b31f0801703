"""Installing a project's dependencies: once for each content of its lockfiles and manifests, in the sandbox.

- `units.py`: which commands a repository needs (`SetupUnit`), from its spec or its files; `python.py` for Python.
- `run.py`: run a unit in a worktree of its own, with the network only then.
- `result.py`: what a unit did (`SetupResult`), and an environment that uses what it made (`with_setup`).

The one thing to know: nothing is installed into the user's checkout or caches; what a unit makes is moved to the
crew's folder and mounted at its place.
"""
