"""Building blocks of attacks: begin a call, threat, goal, losses, randomness. None is an attack."""
