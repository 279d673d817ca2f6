"""Output for people: terminal, TensorBoard, figures, report."""
