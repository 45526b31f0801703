"""What all actors are made of: a process, two threads, a durable mailbox, and a rule for failures.

    process        a child's life from the fork to its exit; its main thread waits for wake-ups and signals
    actor          the base class: recovery, work, clock, and the boundary for unexpected errors
    handler        an actor that handles one message after the other, each with one commit
    failures       a failed message is retried later or becomes a dead letter
    retries        when it is retried, and how often
    context        what a process gives to its actor, and what its two threads share
    mailbox        sending, and who may write to whom
    messages       every message, as a pydantic union
    addresses      the names that always exist, and priorities
    wake           a datagram that wakes another process
    live           streaming text on its way to the screen
    signals        signals as something to select on
    kinds          which class an actor's kind is

May import `store`, `actors.log` and the modules of `actors`. The one thing to know: commit first, wake second.
A lost wake-up costs one poll; a wake-up before the commit would find nothing.
"""
