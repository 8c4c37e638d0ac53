"""A run and how it is kept: it goes back, is recorded, replayed, saved and swept. No threads, no widgets."""
