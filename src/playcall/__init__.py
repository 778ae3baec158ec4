"""playcall."""
