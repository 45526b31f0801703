"""Keeps what decides about a change out of the change's hands.

    examine     applies the rest to one change
    files       the table of tests, support, settings, scripts, locks and CI files of each ecosystem
    trees       makes the candidate with the base's tests, and the base with the candidate's
    manifests   takes the test-related parts of package.json, pyproject.toml and the like from the base
    additions   recognises a test file that only gained tests
    shadowing   finds files that would replace a runner or a library
    suspicion   finds product code that asks whether it is being tested

Pure, except for `trees` and `examine`, which use git's object store. May import git, and nothing else of the
gate. The one thing to know: a file of the table that a change touches is the base's when the change is judged.
"""
