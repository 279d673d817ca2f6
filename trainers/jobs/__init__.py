"""What the command line runs, one file or folder a job."""
