"""Our solvers beside other public implementations of the same name, number by number."""
