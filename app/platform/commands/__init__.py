"""Commands of the platform."""

from app.platform.commands.alerts import acknowledge_alert, ignore_alert, resolve_alert
from app.platform.commands.controls import set_operator_control

__all__ = ["acknowledge_alert", "ignore_alert", "resolve_alert", "set_operator_control"]
