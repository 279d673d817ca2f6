"""What people see: terminal, TensorBoard, figures, report."""
