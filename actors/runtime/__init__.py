"""The parts that all actors share: a process, two threads, a durable mailbox, and the handling of failures.

    process        runs an actor in a child process; its main thread waits for wake-ups and signals
    actor          the base class: recovery, work, clock, and the boundary for unexpected errors
    handler        an actor that handles one message after the other, each with one commit
    failures       a failed message is retried later or becomes a dead letter
    retries        when and how often a failed message is retried
    context        an actor's identity and resources, and the state that its two threads share
    mailbox        sends messages; rules of who may write to whom
    messages       every message, as a pydantic union
    addresses      fixed addresses and message priorities
    wake           wakes another process with a datagram
    live           sends streaming text to the screen
    signals        a pipe that becomes readable when a signal arrives
    kinds          the class for an actor kind

May import `store`, `actors.log` and the modules of `actors`. The one thing to know: commit first, wake second.
A lost wake-up costs one poll; a wake-up before the commit would find nothing.
"""
