"""HTML pages that need no other file: a page made of sections, and the reports of a run and of a sweep."""
