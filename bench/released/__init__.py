"""Released students: what a declaration says, how it is run, and how a pipeline's teacher loads one."""
