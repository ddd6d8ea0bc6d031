"""The live page; reads Redis like any downstream service."""
