"""Traces of instrumented agents, by OpenTelemetry's protocol and its conventions for generative AI."""
