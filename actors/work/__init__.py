"""The rules of work: which task goes to whom, what follows from its end, and which states a project has.

    assignment     who gets which task, and what an ended task sets in motion
    lifecycle      the table of a project's states, and the only functions that change them
    stalls         finds work that is ready while somebody is idle, and starts it
    timer          the actor that fires check-ins and runs these checks

May import `actors.runtime` and the store. The one thing to know: every function takes the transaction of the step
that causes it, so a task never changes hands without the message that says so.
"""
