"""What each job found, as text and tables for terminal and report."""
