"""The sections of the page, a module each: `section(inputs)` makes it, or None for a recipe without it."""
