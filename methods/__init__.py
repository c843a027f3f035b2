"""The registry: one file, one method, one paper. The file name is the key and the name on the board."""
