"""Backbones that give a feature pyramid, and heads that take one."""
