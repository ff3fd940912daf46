"""What an operation costs, beside calibrations of the same run: ``python -m bench``."""
