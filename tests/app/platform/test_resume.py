"""EMG-6 as a property: whatever the fleet and whatever the modes on the way, the end of an emergency restores it."""

from dataclasses import dataclass
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.platform.rules import STOPPED_WORK, Standing
from db import models
from db.enums import InstanceState, OperatorMode, PauseCause, TaskStatus
from db.ids import new_id
from db.session import Database
from tests.app.platform.fleet import Fleet
from tests.conftest import make_tenant
from tests.governed import Registry

N, M = InstanceState, OperatorMode
STANDINGS = [
    *(Standing(state) for state in N),
    *(Standing(N.PAUSED, cause, N.ACTIVE) for cause in PauseCause if cause is not PauseCause.EMERGENCY),
]
BACK_AGAIN = [M.NORMAL, M.DRAINING, M.PAUSED]
"""The modes that an agent comes back from by itself."""


@dataclass(frozen=True)
class Story:
    """A fleet over three projects, and what is set where."""

    agents: list[tuple[int, Standing]]
    """Project and standing of each."""
    tasks: list[tuple[int, TaskStatus, list[int]]]
    """Project, status and assignees of each."""
    modes: list[tuple[int | None, OperatorMode]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Small fleets with everything that may meet: shared tasks, agents paused otherwise, scopes that overlap."""
    project = st.integers(0, 2)
    agents = draw(st.lists(st.tuples(project, st.sampled_from(STANDINGS)), min_size=1, max_size=6))
    assignees = st.lists(st.integers(0, len(agents) - 1), max_size=3, unique=True)
    tasks = draw(st.lists(st.tuples(project, st.sampled_from(list(TaskStatus)), assignees), max_size=6))
    scope = st.none() | project
    return Story(agents, tasks, draw(st.lists(st.tuples(scope, st.sampled_from(BACK_AGAIN)), min_size=1, max_size=6)))


async def new_fleet(database: Database) -> Fleet:
    """A fleet in a tenant of its own."""
    tenant = await make_tenant(database)
    operator = models.Operator(id=new_id(), auth_id="ada", name="Ada", email="ada@example.com")
    template = models.AgentTemplate(id=new_id(), name="Researcher")
    await tenant.add(operator, template)
    registry = Registry(tenant, operator, template)
    return Fleet(registry, await registry.version())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
async def test_emg_6_the_end_of_every_emergency_restores_the_fleet(database: Database, story: Story) -> None:
    """Agents, tasks, reasons and notes are those from before; and each task that was blocked was released again."""
    fleet = await new_fleet(database)
    projects: list[UUID] = [
        fleet.registry.tenant.project.id,
        await fleet.project("p1"),
        await fleet.project("p2"),
    ]
    agents = [fleet.agent(standing, projects[at]) for at, standing in story.agents]
    await fleet.add(*agents)
    for at, status, assignees in story.tasks:
        await fleet.add(*fleet.task(status, [agents[one] for one in assignees], projects[at]))
    before = await fleet.agents(), await fleet.tasks()
    for scope, mode in story.modes:
        await fleet.set(mode, None if scope is None else projects[scope])
    for scope_id in (*projects, None):
        await fleet.set(M.NORMAL, scope_id)
    assert (await fleet.agents(), await fleet.tasks()) == before
    records = [row for row in await fleet.rows(models.ChangeRecord) if row.type.value == "TASK_TRANSITIONED"]
    blocked = [row for row in records if row.after_state["status"] == "BLOCKED"]
    assert len(records) == 2 * len(blocked)
    assert {row.before_state["status"] for row in blocked} <= {one.value for one in STOPPED_WORK}
