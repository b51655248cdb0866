"""The five read queries: their texts, the variables they are asked with, and how many rows they must find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.graph.scalars import format_datetime

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class Samples:
    """Rows of the fleet that the variables are made of."""

    instances: Sequence[str]
    """Global ids of instances, for Q1."""
    births: Sequence[datetime]
    """Times at which instances were made, for Q2 and Q3: pages of instances begin there."""
    moments: Sequence[datetime]
    """Times of op events that link a change record, for Q4: ranges begin there."""


@dataclass(frozen=True)
class Query:
    """One of the read queries."""

    name: str
    operation: str
    """The operation's name in `text`, which handlers without GraphQL go by."""
    what: str
    text: str
    rows: Mapping[str, int]
    """Response key of a list of connections -> fewest rows that all of them together must have on the large fleet."""
    variables: Callable[[Samples], Sequence[Variables]]
    """The sets of variables that are asked in turn."""


_RANGE: Final = timedelta(days=1)

_INSTANCE: Final = """
query Instance($id: ID!) {
  agentInstance(id: $id) { id name state heartbeatAt spendToday createdAt updatedAt }
}
"""

_INSTANCES: Final = """
query Instances($from: DateTime!) {
  agentInstances(first: 50, filter: { createdAt: { gte: $from } }) {
    edges {
      node {
        id name state heartbeatAt
        version { id versionLabel lifecycleState genomeHash template { id name defaultRole } }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""

_WORK: Final = """
query Work($from: DateTime!) {
  agentInstances(first: 20, filter: { createdAt: { gte: $from } }) {
    edges {
      node {
        id name state
        tasks(first: 5) {
          edges {
            node {
              id title status
              runs(first: 5) {
                edges {
                  node {
                    id status model startedAt endedAt inputTokens outputTokens costUsd
                    version { id versionLabel genomeHash template { id name } }
                  }
                }
              }
            }
          }
        }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""

_EVENTS: Final = """
query Events($from: DateTime!, $to: DateTime!) {
  opEvents(first: 100, filter: { timestamp: { gte: $from, lt: $to } }) {
    edges {
      node {
        id seq type timestamp
        instance { id name state }
        changeRecord { id type summary timestamp }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""

_APPROVALS: Final = """
query Approvals {
  approvalRecords(first: 50, filter: { status: { eq: PENDING } }) {
    edges {
      node {
        id requestType riskLevel status actionSummary createdAt expiresAt
        requester { id name }
        requesterInstance { id name state }
        version { id versionLabel template { id name } }
        policyEnvelope { id name autonomyTier }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def _ids(samples: Samples) -> Sequence[Variables]:
    return [{"id": instance} for instance in samples.instances]


def _pages(samples: Samples) -> Sequence[Variables]:
    return [{"from": format_datetime(at)} for at in samples.births]


def _ranges(samples: Samples) -> Sequence[Variables]:
    return [{"from": format_datetime(at), "to": format_datetime(at + _RANGE)} for at in samples.moments]


QUERIES: Final = (
    Query("Q1", "Instance", "one instance by id", _INSTANCE, {}, _ids),
    Query("Q2", "Instances", "50 instances with version and template", _INSTANCES, {"agentInstances": 50}, _pages),
    Query(
        "Q3",
        "Work",
        "20 instances x 5 tasks x 5 runs with version and template",
        _WORK,
        {"agentInstances": 20, "tasks": 90, "runs": 400},
        _pages,
    ),
    Query(
        "Q4",
        "Events",
        "100 op events of a time range with instance and change record",
        _EVENTS,
        {"opEvents": 100},
        _ranges,
    ),
    Query(
        "Q5",
        "Approvals",
        "50 pending approvals with requester, version, template, envelope",
        _APPROVALS,
        {"approvalRecords": 50},
        lambda samples: [{}],
    ),
)


def count_rows(data: Any, key: str) -> int:
    """How many rows the connections under this response key have, wherever they stand in an answer."""
    if isinstance(data, list):
        return sum(count_rows(item, key) for item in data)
    if not isinstance(data, dict):
        return 0
    own = len(data[key]["edges"]) if isinstance(data.get(key), dict) else 0
    return own + sum(count_rows(value, key) for value in data.values())


def comparable(data: Any) -> Any:
    """An answer without what servers may choose freely: the text of a cursor, of which only the presence stays."""
    if isinstance(data, list):
        return [comparable(item) for item in data]
    if isinstance(data, dict):
        return {
            key: value is not None if key in ("endCursor", "startCursor", "cursor") else comparable(value)
            for key, value in data.items()
        }
    return data


def difference(one: Any, other: Any, path: str = "data") -> str | None:
    """Where two comparable answers first differ, in words; None where they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        if list(one) != list(other):
            return f"{path} has the keys {list(one)} and {list(other)}"
        return next((found for key in one if (found := difference(one[key], other[key], f"{path}.{key}"))), None)
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{path} has {len(one)} and {len(other)} entries"
        pairs = enumerate(zip(one, other, strict=True))
        return next((found for i, (a, b) in pairs if (found := difference(a, b, f"{path}[{i}]"))), None)
    return None if one == other else f"{path} is {one!r} and {other!r}"
