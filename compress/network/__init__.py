"""The restoration network R."""
