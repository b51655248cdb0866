"""Intake, phases, recurrence and scores as pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.execution.rules.intake import clean_labels, priority_of_labels, sanitised, type_of_labels
from app.execution.rules.phases import cut, strategy_of
from app.execution.rules.routing import Candidate, delegation, performance, ranked, score
from app.execution.rules.work import BUDGETS, recurrence_fault
from db.enums import TaskType
from db.ids import new_id


@given(st.text())
def test_task_1_a_text_from_outside_loses_control_characters_and_nothing_else(text: str) -> None:
    """Tabs and ends of lines stay; doing it twice changes nothing."""
    clean = sanitised(text)
    controls = {chr(code) for code in [*range(32), *range(127, 160)]} - set("\t\n\r")
    assert not controls & set(clean)
    assert clean == clean.strip()
    assert sanitised(clean) == clean
    assert clean == "".join(one for one in text if one not in controls).strip()


def test_labels_are_trimmed_and_said_once() -> None:
    """In their order."""
    assert clean_labels([" b ", "a", "", "b", " "]) == ["b", "a"]


@pytest.mark.parametrize(
    ("labels", "kind", "priority"),
    [
        ([], TaskType.ENGINEERING, 3),
        (["bug", "P0"], TaskType.ENGINEERING, 1),
        (["docs"], TaskType.DOCS, 3),
        (["type: content", "priority/high"], TaskType.CONTENT, 2),
        (["devops", "low"], TaskType.OPS, 4),
        (["research"], TaskType.CUSTOMER_RESEARCH, 3),
        (["highlight", "slow", "docstring"], TaskType.ENGINEERING, 3),
        (["p3", "p1"], TaskType.ENGINEERING, 2),
    ],
)
def test_task_5_labels_are_read_as_whole_words(labels: list[str], kind: TaskType, priority: int) -> None:
    """Section 0b: `slow` is not `low`."""
    assert (type_of_labels(labels), priority_of_labels(labels)) == (kind, priority)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            TaskType.ENGINEERING,
            [
                ("Research", 30, TaskType.CUSTOMER_RESEARCH, ()),
                ("Implement", 60, None, (0,)),
                ("Test", 30, None, (1,)),
                ("Document", 15, TaskType.DOCS, (1,)),
            ],
        ),
        (TaskType.CONTENT, [("Research", 20, None, ()), ("Draft", 40, None, (0,)), ("Review", 20, None, (1,))]),
        (TaskType.OPS, [("Audit", 20, None, ()), ("Plan", 15, None, (0,)), ("Execute", 30, None, (1,))]),
        (TaskType.SOCIAL, [("Research", 20, None, ()), ("Execute", 45, None, (0,)), ("Review", 15, None, (1,))]),
    ],
)
def test_dag_3_the_strategies(kind: TaskType, expected: list[Any]) -> None:
    """Verb, minutes, type and what each waits for."""
    found = cut(strategy_of(kind), 7)
    assert [(one.verb, one.minutes, one.type, one.after) for one in found] == expected
    assert [one.estimated_cost for one in found] == [Decimal(one.minutes) / 100 for one in found]


@pytest.mark.parametrize("most", range(1, 8))
@pytest.mark.parametrize("kind", list(TaskType))
def test_dag_3_edges_to_phases_that_were_cut_are_gone(kind: TaskType, most: int) -> None:
    """Section 0b."""
    found = cut(strategy_of(kind), most)
    assert 1 <= len(found) <= most
    assert all(at < len(found) for one in found for at in one.after)


def test_bud_1_every_type_has_its_budget() -> None:
    """In US dollars."""
    assert {kind.value: int(amount) for kind, amount in BUDGETS.items()} == {
        "CONTENT": 6,
        "SOCIAL": 2,
        "EMAIL_MARKETING": 4,
        "CUSTOMER_RESEARCH": 5,
        "SEO_RESEARCH": 4,
        "ENGINEERING": 8,
        "DOCS": 3,
        "OPS": 3,
    }


@pytest.mark.parametrize(
    ("recurrence", "is_one"),
    [
        ({"frequency": "DAILY", "interval": 1}, True),
        ({"frequency": "WEEKLY", "interval": 2, "daysOfWeek": [0, 6], "endDate": "2026-12-31T00:00:00Z"}, True),
        ({"frequency": "HOURLY", "interval": 1}, False),
        ({"frequency": "DAILY"}, False),
        ({"frequency": "DAILY", "interval": 0}, False),
        ({"frequency": "DAILY", "interval": True}, False),
        ({"frequency": "DAILY", "interval": 1, "daysOfWeek": [1]}, False),
        ({"frequency": "WEEKLY", "interval": 1, "daysOfWeek": [7]}, False),
        ({"frequency": "WEEKLY", "interval": 1, "daysOfWeek": []}, False),
        ({"frequency": "WEEKLY", "interval": 1, "daysOfWeek": [1, 1]}, False),
        ({"frequency": "MONTHLY", "interval": 1, "endDate": "2026-12-31"}, False),
        ({"frequency": "MONTHLY", "interval": 1, "endDate": "soon"}, False),
        (["DAILY"], False),
    ],
)
def test_task_7_a_recurrence_has_a_form(recurrence: Any, is_one: bool) -> None:
    """What the calendar and the job read must be sound."""
    assert (recurrence_fault(recurrence) is None) is is_one


def candidate(**given: Any) -> Candidate:
    return Candidate(**{"id": new_id(), "is_active": True, "may_do": True, "load": 0, "role": None, **given})


@pytest.mark.parametrize(
    ("successes", "failures", "expected"),
    [(0, 0, 0.5), (4, 0, 1.0), (3, 1, 0.7 * 0.75 + 0.3 * 0.9), (0, 12, 0.0), (10, 10, 0.35)],
)
def test_rte_1_performance(successes: int, failures: int, expected: float) -> None:
    """0.7 success + 0.3 max(0, 1 - 0.1 failures); 0.5 without history."""
    assert performance(successes, failures) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "max_load", "expected"),
    [
        ({}, 1, 0.3 + 0.2 + 0.2 + 0.2 * 0.5 + 0.1 * 0.5),
        ({"role": "LEAD", "successes": 4}, 1, 0.3 + 0.2 + 0.2 + 0.2 + 0.1),
        ({"role": "SPECIALIST", "load": 2}, 4, 0.3 + 0.2 + 0.1 + 0.1 + 0.08),
        ({"role": "INTERN", "may_do": False, "is_active": False, "load": 3}, 3, 0.1 + 0.04),
        ({"role": "REVIEWER"}, 0, 0.3 + 0.2 + 0.2 + 0.1 + 0.06),
    ],
)
def test_rte_1_the_score(given: dict[str, Any], max_load: int, expected: float) -> None:
    """skill, availability, load, performance and role; the parts add up to it."""
    found = score(candidate(**given), max_load)
    assert found.score == pytest.approx(expected)
    assert sum(share for _, share in found.parts) == pytest.approx(found.score)


def test_rte_2_who_is_no_candidate_and_how_ties_are_broken() -> None:
    """ACTIVE, allowed, with budget; then the score, the load, the id."""
    out = [candidate(is_active=False), candidate(may_do=False), candidate(budget_left=Decimal(0))]
    light, heavy = candidate(load=1, role="LEAD"), candidate(load=2, role="LEAD")
    first, second = sorted([candidate(load=1), candidate(load=1)], key=lambda one: one.id)
    found = ranked([second, heavy, *out, first, light, candidate(budget_left=Decimal("0.01"), load=9)])
    assert [one.candidate for one in found][:3] == [light, heavy, first]
    assert len(found) == 5
    assert not {one.candidate for one in found} & set(out)


@pytest.mark.parametrize(
    ("given", "required", "expected"),
    [
        ({}, [], 20 + 12.5 + 5 + 0 + 10),
        ({"capabilities": frozenset({"sql"})}, ["SQL", "css"], 20 + 12.5 + 5 + 10),
        ({"role": "LEAD", "load": 2, "budget_left": Decimal("2.5"), "successes": 1}, [], 20 + 25 + 15 - 5 + 5),
        ({"role": "SPECIALIST", "load": 9, "budget_left": Decimal(50)}, ["x"], 0 + 12.5 + 10 - 10 + 10),
    ],
)
def test_rte_3_the_score_of_delegation(given: dict[str, Any], required: list[str], expected: float) -> None:
    """Capabilities, performance, role, load and budget."""
    assert delegation(candidate(**given), required).score == pytest.approx(expected)
