"""What makes the documentation's site of `docs/` and of the code: `make docs`."""
