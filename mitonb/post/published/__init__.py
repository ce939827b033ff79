"""The rules of the published MitoNet software, for comparison; what mitonb does otherwise is in docs/published.md."""
