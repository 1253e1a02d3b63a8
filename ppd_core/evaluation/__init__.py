"""How good a depth is: the field's error measures, and measures of object borders."""
