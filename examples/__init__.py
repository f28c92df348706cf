"""Study files to begin with, and in `gallery/` five studies that are worked through."""
