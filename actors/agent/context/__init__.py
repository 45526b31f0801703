"""What the model reads: messages as text, and the prompt built from committed history.

    briefing       messages as text for the model
    prompt         the prompt of a history, and where to cut it
    window         keeps the prompt inside the context window
    memory         the history rows that the next prompt is built from
    summary        a summary of old rows, written by code

May import `actors.agent.state`, `actors.model`, `actors.work` and the store. The one thing to know: equal histories
give equal prompts, byte by byte, so after a restart the server still has the prompt's beginning in its cache.
"""
