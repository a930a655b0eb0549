"""Distant supervision: KG names on raw text, filtered by what the raw text itself says of them."""
