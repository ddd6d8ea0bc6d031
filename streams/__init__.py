"""ecindex: a live, exact, revisable e-commerce index."""
