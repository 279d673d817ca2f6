"""White box: what the gradient of a class's score says of pixels."""
