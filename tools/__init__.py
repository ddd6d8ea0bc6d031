"""Scripts that generate files of this repository. They are no part of the service or its wheel."""
