"""Images that mean nothing to people and a class to the classifier."""
