"""From what users write of attacks, defences and explanation methods to the objects."""
