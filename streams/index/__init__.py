"""Arithmetic: values in, values out. Never does any IO, never reads a clock."""
