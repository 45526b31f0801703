"""An agent: an actor that works on a message in many steps, with a model and tools.

    agent          the actor: chooses what to do next and acts on the results
    intake         takes a message: control, the start of a turn, or an interjection
    turn_start, turn_end    how a turn starts and ends
    turn           the next step, decided from the history alone, and what a step may return
    steps          takes a step
    model_calls    one call to the model
    tool_calls     one call of a tool
    state          what the agent knows of itself while it works, and how it commits a step
    budget         what a task has used of its steps, tokens and minutes
    workspace      the worktree of a task or a view of the project, and the sandbox
    context/       the prompt, built from committed rows and kept inside the model's window
    recovery/      what happens when a turn makes no progress

May import everything in `actors` but the screen and the gate. The one thing to know: where an agent stands is only
in the store. The claimed message is the turn and the tail of the history says what comes next, so a kill
between any two instructions loses at most the tokens in flight.
"""
