"""A plug-in of fewstep-bench with one method."""
