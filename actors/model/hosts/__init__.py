"""The model hosts of a crew: failover between them, and a circuit breaker and request slots for each.

All agents are processes of their own. They share the state of a host through files and locks in the crew's run
folder, so no server process is needed and a killed agent leaves nothing locked.

May import the rest of `actors.model`. The one thing to know: one `HostPool` belongs to one agent; what agents
share is only in the files of `breaker`, `slots`, `tickets` and `capacity`.

    failover       which host an agent uses
    host           one host: breaker and slot around one request
    breaker        the circuit breaker of a host
    slots, slot_files, tickets, capacity    how many requests at once, and who is next
"""
