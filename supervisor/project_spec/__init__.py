"""From a spec file to a project: reading, parsing and checking the text, then creating project and crew.

`parse.py` knows no files and no store, and takes time linear in the length of the text. `deploy.py` creates
the project's branch and rows.

    spec           a spec as data
    file           reads it from a file
    markdown, sections, items    lines, sections and list items of its text
    problems       what is wrong with it
    names          finds the running project, or a free name for a new one
    slug           project names that git and tmux accept
"""
