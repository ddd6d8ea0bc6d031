"""Arithmetic: values in, values out. This package does no IO and reads no clock."""
