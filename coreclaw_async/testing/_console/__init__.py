"""
The console of a served fake service: a page that shows what happens, and has buttons to make it happen.

Belongs here: the page, what it is told, what its buttons do, and who may use it.
Does not belong here: the API, and anything that a test needs when nobody looks.
"""
