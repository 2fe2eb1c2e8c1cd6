"""Stage 3: top-1 and top-5 accuracy on labelled photographs, with a journal that survives a kill."""
