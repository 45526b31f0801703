"""Trials of a whole crew with a scripted model: the rehearsal, the crash drill, and the audit of both.

They use the real command line, processes, git and tmux, each in a folder of its own inside the home.

    rehearse, rehearse_outcome    the rehearsal, and its result
    drill, drill_outcome          the drill, and its result
    drill_stage, drill_faults     the drill's crew, and the faults it injects
    audit                         lost, done twice, or stuck?
"""
