"""Rules of workflows: definitions (WF-1), the context (WF-3, WF-4), retries (WF-5), suggestions (WF-8)."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from app.workflow.rules.definition import LONGEST_YAML, DefinitionFault, definition_of, read_yaml
from app.workflow.rules.running import holds, learned, missing_names, rendered, retry_delay, suggestion

GOOD: dict[str, Any] = {
    "id": "bug-fix",
    "name": "Bug fix",
    "description": "Mends.",
    "agents": [
        {"id": "dev", "persona": "Developer", "workspace": {"files": {"README.md": "Read."}}},
        {"id": "qa", "persona": "Tester"},
    ],
    "steps": [
        {
            "id": "fix",
            "agent": "dev",
            "input": "Fix {{task}}",
            "expects": "STATUS: done",
            "retryLimit": 2,
            "timeoutMinutes": 30,
        },
        {
            "id": "test",
            "agent": "qa",
            "input": "Test {{fixOutput}}",
            "expects": "",
            "retryLimit": 0,
            "timeoutMinutes": 1.5,
        },
    ],
}


def test_wf_1_a_good_definition_is_taken_as_it_is() -> None:
    made = definition_of(GOOD)
    assert (made.key, made.name, made.description) == ("bug-fix", "Bug fix", "Mends.")
    assert made.agents == GOOD["agents"]
    assert made.steps == GOOD["steps"]


def _set(path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    spot: Any = made
    *way, last = [int(one) if one.isdigit() else one for one in path.split("/")]
    for one in way:
        spot = spot[one]
    if value is ...:
        del spot[last]
    else:
        spot[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("id", "  ", "id", "blank"),
        ("id", 7, "id", "quotes"),
        ("id", ..., "id", "text"),
        ("name", "n" * 101, "name", "100"),
        ("description", 5, "description", "text"),
        ("agents", [], "agents", "1 to 50"),
        ("steps", [], "steps", "1 to 100"),
        ("steps", {"fix": {}}, "steps", "list"),
        ("steps/0", "fix", "steps[0]", "number 1"),
        ("steps/1/agent", "ghost", "steps[1].agent", "'test'"),
        ("steps/1/agent", "ghost", "steps[1].agent", "dev, qa"),
        ("steps/1/id", "fix", "steps[1].id", "'fix'"),
        ("agents/1/id", "dev", "agents[1].id", "'dev'"),
        ("agents/1/persona", "", "agents[1].persona", "'qa'"),
        ("agents/0/workspace", "none", "agents[0].workspace", "workspace"),
        ("agents/0/workspace/files", {"a": 1}, "agents[0].workspace.files", "text"),
        ("steps/0/retryLimit", -1, "steps[0].retryLimit", "'fix'"),
        ("steps/0/retryLimit", 1.0, "steps[0].retryLimit", "whole"),
        ("steps/0/retryLimit", True, "steps[0].retryLimit", "whole"),
        ("steps/0/retryLimit", ..., "steps[0].retryLimit", "whole"),
        ("steps/0/timeoutMinutes", 0, "steps[0].timeoutMinutes", "above 0"),
        ("steps/0/timeoutMinutes", float("inf"), "steps[0].timeoutMinutes", "above 0"),
        ("steps/0/timeoutMinutes", float("nan"), "steps[0].timeoutMinutes", "above 0"),
        ("steps/0/timeoutMinutes", "5", "steps[0].timeoutMinutes", "number"),
        ("steps/0/input", "", "steps[0].input", "blank"),
        ("steps/0/input", "a\0b", "steps[0].input", "text"),
        ("steps/0/input", "\ud800", "steps[0].input", "text"),
        ("steps/0/expects", None, "steps[0].expects", "text"),
        ("steps/0/retrylimit", 2, "steps[0]", "retrylimit"),
        ("extra", 1, None, "extra"),
    ],
)
def test_wf_1_a_fault_names_its_step_and_its_place(path: str, value: Any, where: str | None, says: str) -> None:
    with pytest.raises(DefinitionFault) as caught:
        definition_of(_set(path, value))
    assert caught.value.path == where
    assert says in caught.value.message


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_wf_1_a_definition_is_an_object(document: Any) -> None:
    with pytest.raises(DefinitionFault):
        definition_of(document)


def test_wf_1_yaml_is_read_as_plain_values() -> None:
    assert read_yaml("a: 1\nb: [x, 2.5, true]") == {"a": 1, "b": ["x", 2.5, True]}


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_BOMB, "Line 2: aliases"),
        ("a: &x 1\nb: *x", "aliases"),
        ("[" * 5_000, "nested"),
        ("a: " + "[" * 21 + "]" * 21, "nested"),
        ("a: 1\na: 2", "'a'"),
        ("? [1, 2]\n: x", "no text"),
        ("1: x", "no text"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML"),
        ("a: b: c", "Line 1"),
        ("a: 1\n---\nb: 2", "no YAML"),
        ("a: \x00", "no YAML"),
        ("a: " + "9" * 5_000, "cannot be read"),
        ("a: 2026-99-99", "cannot be read"),
        ("x" * (LONGEST_YAML + 1), "characters"),
    ],
)
def test_wf_1_yaml_that_is_not_taken(text: str, says: str) -> None:
    """No aliases, so no bomb of them; no tags of a program's; nothing deep, nothing twice; quick to say so."""
    began = time.perf_counter()
    with pytest.raises(DefinitionFault) as caught:
        read_yaml(text)
    assert says in caught.value.message
    assert time.perf_counter() - began < 5


def test_wf_1_a_date_in_yaml_is_no_text() -> None:
    document = read_yaml("id: 2026-01-01")
    with pytest.raises(DefinitionFault, match="quotes"):
        definition_of(document)


def test_wf_3_only_plain_names_of_the_context() -> None:
    context = {"task": "<b>&amp; {{other}}", "PR URL": "https://x"}
    assert rendered("Do {{task}} at {{ PR URL }}.", context) == "Do <b>&amp; {{other}} at https://x."
    assert missing_names("{{a}} {{task}} {{#task}} {{task.x}} {{a}} {{__class__}}", context) == [
        "a",
        "#task",
        "task.x",
        "__class__",
    ]
    assert missing_names("no names {here}", {}) == []


@pytest.mark.parametrize(
    ("output", "expects", "is_there"),
    [
        ("Status:\n  DONE now", "status: done", True),
        ("nothing", "done", False),
        ("anything", "", True),
        ("a  b", "A\tB", True),
        ("", "x", False),
    ],
)
def test_wf_4_the_output_contains_what_is_expected(output: str, expects: str, is_there: bool) -> None:
    assert holds(output, expects) is is_there


def test_wf_4_the_context_learns_keys() -> None:
    output = "STATUS: done\nPR_URL: https://x\nBRANCH: a\n BRANCH: b: c \nEMPTY:   \nlower: no\nSTEP 2-B: yes\nMix: no"
    assert learned("fix", output) == {
        "fixOutput": output,
        "PR_URL": "https://x",
        "BRANCH": "b: c",
        "STEP 2-B": "yes",
    }


def test_wf_5_delays() -> None:
    assert [retry_delay(retries).total_seconds() for retries in (0, 1, 2, 3, 4, 5, 6, 10_000)] == [
        *(1, 2, 4, 8, 16, 30, 30, 30)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fix the login bug", ("bug-fix", 0.9)),
        ("A new feature that fixes errors", ("feature-dev", 0.85)),
        ("Check our SECURITY.", ("security-audit", 0.8)),
        ("A bug in the security page", ("bug-fix", 0.9)),
        ("Debugging prefixes", None),
        ("", None),
    ],
)
def test_wf_8_feature_words_first_then_bugs_then_security(text: str, expected: tuple[str, float] | None) -> None:
    assert suggestion(text) == expected
