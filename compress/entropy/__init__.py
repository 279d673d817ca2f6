"""From whole numbers to bytes and back: contexts, tables, rANS."""
