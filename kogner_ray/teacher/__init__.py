"""The teacher: three views of a KG entity, Z (text), Z' (graph transformer) and Z'' (TransR)."""
