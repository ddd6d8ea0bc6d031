"""The only code that knows Faust."""
