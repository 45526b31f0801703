"""The merge gate: judges each submission by code and merges it, or sends it back.

    merging        merges, checks, compares and lands
    checks, runner    run commands in the sandbox and judge them
    looks          runs them on the base, on the candidate, and on mixtures of both
    protection/    which files decide about a change, and what a change does to them
    results/       result files of test runners
    counts/        parsers of test runners' output
    tampering      finds weakened tests
    verdict        decides
    report         the answer for the engineer
    patience       limits the wait for QA
    find_checks    finds a repository's test commands
    actor          takes submissions and QA's verdicts from the mailbox
    judging        judges one submission: merge, check, compare, land
    judgement      what was decided, as a value, and the one function that commits it
    records        what the gate writes about itself and the tasks it holds

May import git, sandbox, environment, runtime and work, and nothing of the agent. The one thing to know: what decides
must never be under the control of what is judged.
"""
