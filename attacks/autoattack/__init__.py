"""AutoAttack: an ensemble of four attacks, and the state it resumes from."""
