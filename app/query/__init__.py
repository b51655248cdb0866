"""Reading, compiled: a validated selection becomes a plan, the plan a statement or a few, their rows the bytes to send.

    plan.py         what an operation reads, root field by root field; run for each request
    levels.py       one execution of a plan, and what each level of rows asks of it
    lookups.py      rows by their ids, and what hangs on rows by an id that they have
    lists.py        lists with pages, and the short ones without
    selection.py    a selection -> a plan
    rows.py         what one statement reads of each row, and the expression that writes the row
    columns.py      how each kind of column is read and written
    json_values.py  objects out of JSON columns
    statements.py   the kit's statements as text, with the places where their values come from
    payload.py      what a mutation's answer shows of its outcome
    compiler.py     the cache of plans, and the door for the executor

It knows the kit and no domain: what a type shows is in the metadata that its declaration left behind. What it cannot
say it leaves to the reference way (Strawberry's resolvers), and whatever goes wrong on the way here is told by that
one, so that there is one voice for errors.
"""
