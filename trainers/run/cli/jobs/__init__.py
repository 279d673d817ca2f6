"""The options of the jobs that have many of their own, one file a job."""
