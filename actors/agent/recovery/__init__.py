"""What happens when a turn makes no progress.

    guard          finds loops and unusable replies (pure)
    ladder         what to try next with a stuck task (pure)
    stuck          carries that out
    duties         what each role has to do before its turn may end, and what code does in its place

May import the rest of `actors.agent`. The one thing to know: no turn goes on for ever. Each has a budget, and
each rung of the ladder ends with the task merged, given to another agent, or parked with the reason.
"""
