"""
Requests and answers without I/O: what is sent, what comes back, and what follows from it.

Belongs here: requests and the checks of their arguments, answers, error codes, conversion into models, retry decisions.
Does not belong here: a socket, a clock, a random number or an ``await``; all of them are handed in.
"""
