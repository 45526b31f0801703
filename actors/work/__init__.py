"""The rules of work: which task goes to whom, what follows from its end, and which states a project has.

    team           the names of a project's agents, who is free, and hiring
    deliverables   which tasks cover which deliverables
    assignment     who gets which task
    outcomes       what a merged, refused or parked task sets in motion
    lifecycle      the table of a project's states, and the only functions that change them
    deadlines      agents without progress by their deadline; deadlines after a jump of the clock
    stalls         finds work that is ready while somebody is idle, and starts it
    timer          the actor that fires check-ins and runs these checks

May import `actors.runtime` and the store. The one thing to know: every function that changes something takes the
transaction of the step that causes it, so a task never changes hands without the message that says so.
"""
