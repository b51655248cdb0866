"""The large demo fleet: a thousand agents in the regional shops of northwind, and 28 days of their work.

The agents are made one by one; their work is computed inside Postgres, statement by statement, from its number alone:
task 4711 has the same title, agent, times and cost each time. It comes on top of the small fleet, be it there already
or not, and northwind ends with exactly `TARGETS` rows.
"""

from db.demo.bulk.enlarging import TARGETS, enlarge

__all__ = ["TARGETS", "enlarge"]
