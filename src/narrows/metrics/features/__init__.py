"""Measures of dictionaries as features: what they explain, how they fire, whom they resemble."""
