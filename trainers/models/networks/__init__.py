"""The networks of ours, one file each."""
