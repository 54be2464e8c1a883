"""What people read: evaluations, tables, the shared sheet, plots, the page of results."""
