"""The linking index: names, trigrams, ids and H of an entity table, built once and memory-mapped."""
