"""What searching means, free of protocol and engine: mappings, analysis, queries, and the index's port."""
