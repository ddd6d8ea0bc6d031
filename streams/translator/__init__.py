"""`ecindex translate`: reads the topics of sources; writes events and states as one unit."""
