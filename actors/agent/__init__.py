"""An agent: an actor that works on a message in many steps, with a model and tools.

    agent          the actor: takes messages, takes steps, hands failures on
    state          who it is, its task, its activity, and how a step is committed
    turn           the next step, decided from the history alone
    turn_start     what a message means for the start of a turn
    briefing       messages as text for the model
    prompt, context_window, memory, summary    the prompt, built from committed rows and kept inside the window
    model_calls    one call to the model
    tool_calls     one call of a tool
    guard          loops and unusable replies
    ladder, recovery    what happens to a stuck task
    duties         what each role owes before its turn may end
    workspace      its worktree and its sandbox

May import everything in `actors` but the screen and the gate. The one thing to know: where an agent stands is only
in the store. The claimed message is the turn and the tail of the history says what comes next, so a kill
between any two instructions loses at most the tokens in flight.
"""
