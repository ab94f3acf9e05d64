"""Who is in a circle, a parent and its children, and who of them can be dialled."""
