"""What a comparison or a run shows: pages, tables, galleries, verdicts in words."""
