"""`compress evaluate`: codecs, peers, judges, curves."""
