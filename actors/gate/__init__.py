"""The merge gate: judges each submission by code and merges it, or sends it back.

`actor` takes submissions from the mailbox. `merging` merges, checks, compares and lands; `checks` runs and
judges commands through `runner`, which uses the sandbox; `results` reads the result files of test runners, `counts` their output; `tampering`
finds weakened tests; `verdict` decides; `report` writes the answer for the engineer; `patience` limits the
wait for QA; `find_checks` finds a repository's test commands. May import git, sandbox, runtime and work, and
nothing of the agent. What decides must never be under the control of what is judged.

    actor          takes submissions and QA's verdicts from the mailbox
    judging        judges one submission: merge, check, compare, land
    judgement      what was decided, as a value, and the one function that commits it
    records        what the gate writes about itself and the tasks it holds
"""
