"""From a spec file to a project: reading, parsing and checking the text, then creating project and crew.

`parse.py` knows no files and no store, and takes time linear in the length of the text. `deploy.py` creates
the project's branch and rows.
"""
