"""The client of the model servers: sends a prompt to an Ollama host and returns the reply.

The way of one request, from an agent's step to the socket:

    agent/model_calls   one model call: build the request, commit the reply
    hosts/failover      choose the host: the agent's own, or the next one that answers
    hosts/host          one host: its circuit breaker and a slot around one request
    ollama              stream `/api/chat` within the time limits, until done or cancelled
    wire                pure: encode the request, decode the chunks, translate foreign errors

Also here: `admin` (what setup and health checks ask a server), `parsing/` (tool calls that a model wrote into
its text) and `truncation` (whether the server read the whole prompt).

May import `store`, `actors.log` and the leaves directly in `actors/`; nothing of the agent or the runtime.
The one thing to know: every failure leaves this package as one of the errors in `errors.py`, and each of
them stands for one reaction of the agent.

    protocol       the values that go in and out: messages, tools, options, limits, replies
    connection     the event loop and the HTTP client, kept between the requests of a turn
    watchdog       time limits and cancellation of a request
    address        host addresses: normalised, and whether they are local
    preload        loads the model when a crew starts
"""
