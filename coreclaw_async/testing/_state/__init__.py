"""
What the fake service knows, and what happens to it as time passes.

Belongs here: workers, runs, rows, tasks, queue items and files, what they do by themselves; switches and clocks.
Does not belong here: a request, an answer or a fault; a run does not know how it is asked for or shown.
"""
