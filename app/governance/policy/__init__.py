"""The policy engine: pure functions over facts that somebody else loaded; no input, no output.

- `action`: what is asked for;
- `risk`: how risky it is, and what of it is secret (RSK-1 to RSK-7);
- `matching`: tools, files, hosts and shell commands against lists (POL-8);
- `inheritance`: one policy out of the envelopes of four levels (POL-4, POL-5);
- `gate`: what the emergency mode and an instance's state let through (EMG-2, INS-4);
- `decide`: the verdict, with its reasons (POL-1, POL-2).
"""

from app.governance.policy.action import Action, ActionType
from app.governance.policy.decide import Decision, evaluate
from app.governance.policy.facts import Facts
from app.governance.policy.inheritance import EffectivePolicy, Envelope, PolicyLevel, resolve

__all__ = [
    "Action",
    "ActionType",
    "Decision",
    "EffectivePolicy",
    "Envelope",
    "Facts",
    "PolicyLevel",
    "evaluate",
    "resolve",
]
