"""Pages that hold everything themselves: a page of sections, and the report of a run."""
