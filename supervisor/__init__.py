"""Starts and watches the crew's processes, and is what people use: command line, configuration, reports.

May import everything in `actors` and `store`; nothing imports it. One process per home runs `loop.Supervisor`;
every command of `cli/` is another process, and they share nothing but the store and the files in the home.
"""
