"""Choosing the concept that a mention denotes: candidates, what speaks for each, a ranker, and its fitting."""
