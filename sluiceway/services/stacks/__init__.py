"""Stacks: templates, their intrinsic functions and conditions, and the state of what was made from them."""
