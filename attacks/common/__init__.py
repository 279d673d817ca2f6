"""What attacks are made of: threat, goal, losses, inputs, randomness. Nothing here is an attack."""
