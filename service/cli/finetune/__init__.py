"""`graft finetune` and how a run shows itself."""
