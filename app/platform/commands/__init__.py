"""Commands of the platform."""

from app.platform.commands.controls import set_operator_control

__all__ = ["set_operator_control"]
