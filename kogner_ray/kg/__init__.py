"""Graph side: canonical tables, partitions, linking, and the entity table that carries the teacher to the student."""
