"""Scenarios for agents that use the skill: what they are asked, what serves it, how answers are graded."""
