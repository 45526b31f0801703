"""The scripted model: a loopback server that speaks Ollama's protocol and answers from a script.

Tests, `nightcrew rehearse` and `nightcrew drill` run real crews against it.

    __main__, server    start and stop the server
    http                Ollama's HTTP interface
    state               the only state: which requests were served, and the models that were pulled
    answers             pure: request and script -> answer
    stream              pure: answer and fault -> the lines of the response
    script, faults      the format of a script

May import the standard library, pydantic and `store.errors`. The one thing to know: an answer depends only on the
request and the script, so a client that was killed and repeats its request gets the same answer.
"""
